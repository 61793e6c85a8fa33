import { fileURLToPath } from 'node:url';
import { serveFolder } from '../../scripts/browser/serve.js';
import { buildPage } from './build.js';

// Builds the page and serves it on this machine: npm run page [-- PORT]

const folder = fileURLToPath(new URL('../../.cache/browser-train', import.meta.url));
await buildPage(folder);
const { url } = await serveFolder(folder, { port: Number(process.argv[2] ?? 8080) });
console.log(`${url} shows the page. Its files are in ${folder}; Ctrl-C ends.`);
