// The `peft` command as it is installed: from the built files.
import { main } from '../packages/cli/dist/index.js';

process.exitCode = await main(process.argv.slice(2));
