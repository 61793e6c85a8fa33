// Builds the native addon of @tensorflow/tfjs-node against a TensorFlow that is already on this machine, where its own
// download is out of reach or its TensorFlow too old:
//
//   npm install --prefix FOLDER --ignore-scripts @tensorflow/tfjs-node
//   node scripts/tfjs-native.mjs FOLDER TENSORFLOW
//   NODE_PATH=FOLDER/node_modules npx vitest run packages/tfjs
//
// TENSORFLOW is the folder `tensorflow` of an unpacked Python wheel (tensorflow, tensorflow_cpu), or an unpacked C
// library (libtensorflow). Needs a C++ compiler, make and Python, as every addon built on the spot does.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';

const [folder, tensorflow] = process.argv.slice(2).map((path) => resolve(path));
if (!tensorflow) fail('usage: node scripts/tfjs-native.mjs FOLDER TENSORFLOW');
const packages = ['tfjs-node', 'tfjs-node-gpu'].map((name) => `@tensorflow/${name}`);
const name = packages.find((each) => existsSync(join(folder, 'node_modules', each)));
if (!name) fail(`${folder} has neither ${packages.join(' nor ')}: npm install --prefix FOLDER --ignore-scripts NAME`);

const include = join(tensorflow, 'include');
if (!existsSync(join(include, 'tensorflow', 'c', 'c_api.h')))
  fail(`${include} has no tensorflow/c/c_api.h: TENSORFLOW is the folder with include/ in it`);
const deps = join(folder, 'node_modules', name, 'deps');
rmSync(deps, { recursive: true, force: true });
mkdirSync(join(deps, 'lib'), { recursive: true });
symlinkSync(include, join(deps, 'include'), 'junction');
// A wheel calls its library libtensorflow_cc; the install script looks for the version that it would download.
link(['libtensorflow.so', 'libtensorflow_cc.so'], ['libtensorflow.so', 'libtensorflow.so.2', 'libtensorflow.so.2.9.1']);
link(['libtensorflow_framework.so'], ['libtensorflow_framework.so', 'libtensorflow_framework.so.2']);

run('npm', ['rebuild', '--foreground-scripts', name], folder);
const check = `const tf = require('${name}'); tf.matMul([[1, 2]], [[3], [4]]).dataSync()[0] === 11 || process.exit(1);
console.log('${name} runs on TensorFlow ' + tf.backend().binding.TF_Version)`;
run(process.execPath, ['-e', check], folder);

/** Links the library that there is under every name it is asked for by, and under its own. */
function link(stems, names) {
  const places = [tensorflow, join(tensorflow, 'lib')].filter(existsSync);
  const found = places
    .flatMap((place) => readdirSync(place).map((file) => ({ place, file })))
    .filter(({ file }) => stems.some((stem) => file === stem || file.startsWith(`${stem}.`)))
    .sort((a, b) => a.file.length - b.file.length);
  if (found.length === 0) fail(`no ${stems.join(' or ')} in ${places.join(' or ')}`);
  const { place, file } = found[0];
  for (const each of new Set([...names, file])) symlinkSync(join(place, file), join(deps, 'lib', each));
}

function run(command, args, cwd) {
  const { status } = spawnSync(command, args, { cwd, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

function fail(problem) {
  console.error(problem);
  process.exit(2);
}
