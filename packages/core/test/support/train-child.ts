// Trains the tiny model with a checkpoint after every update, and says so: to be killed.
import { train } from '../../src/index.js';
import { killedRun } from './killed-run.js';
import { roundedBackend } from './rounded.js';
import { tinyModel } from './tiny-model.js';

async function main(directory: string): Promise<void> {
  const options = { ...killedRun, backend: roundedBackend(), checkpoint: { directory, every: 1 }, resume: true };
  for await (const event of train(tinyModel(), options))
    if (event.type === 'step') process.stdout.write(`${event.step}\n`);
}

await main(process.argv[2]!);
