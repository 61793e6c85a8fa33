import { describe, expect, it } from 'vitest';
import {
  type Adapter,
  createRandom,
  lowRankTerm,
  matchTargets,
  type Target,
  type TargetRules,
  tensorRef,
  underOwnPaths,
} from '../src/index.js';
import { baseNamedAs } from '../src/peft/base-names.js';

const ref = (shape: readonly number[]) => tensorRef(createRandom(1).normal(shape));

const linear = (path: string, alias?: string): Target => ({
  kind: 'linear',
  path,
  ...(alias && { aliases: [alias] }),
  in: 4,
  out: 4,
  parameters: { weight: ref([4, 4]) },
});

const targets = [
  ...[0, 1].flatMap((n) => [
    linear(`body.layers.${n}.attention.q_proj`, `body.encoder.layer.${n}.attention.query`),
    linear(`body.layers.${n}.mlp.fc1`, `body.encoder.layer.${n}.intermediate.dense`),
  ]),
  linear('classifier'),
];

const selected = (rules: TargetRules) => matchTargets(targets, rules).report.matched;
const queries = ['body.layers.0.attention.q_proj', 'body.layers.1.attention.q_proj'];

describe('rules', () => {
  it('select a module by any of its names', () => {
    expect(selected({ targetModules: ['q_proj'] })).toEqual(queries);
    expect(selected({ targetModules: ['query'] })).toEqual(queries);
    expect(selected({ targetModules: '.*layer\\.\\d\\.attention\\.query' })).toEqual(queries);
    expect(selected({ targetModules: ['query', 'fc1', 'classifier'] })).toEqual(targets.map(({ path }) => path));
    expect(selected({ targetModules: 'all-linear' })).toHaveLength(5);
  });

  it('leave out, save and count layers by any of its names', () => {
    expect(selected({ targetModules: 'all-linear', excludeModules: ['query', 'fc1'] })).toEqual(['classifier']);
    expect(selected({ targetModules: ['q_proj'], layersToTransform: 1, layersPattern: 'layer' })).toEqual([queries[1]]);
    expect(selected({ targetModules: ['query'], layersToTransform: [0], layersPattern: 'layers' })).toEqual([
      queries[0],
    ]);
    expect(selected({ targetModules: 'all-linear', modulesToSave: ['encoder.layer.0.attention'] })).not.toContain(
      queries[0],
    );
  });

  it('say which entry selected nothing, and nothing of the others', () => {
    const { report } = matchTargets(targets, { targetModules: ['query', 'key'] });
    expect(report.unmatched).toEqual([{ rule: 'targetModules', entry: 'key' }]);
  });
});

const adapterOf = (...paths: string[]): Adapter => ({
  delta: {
    shape: new Map(paths.map((path) => [path, [4, 4]])),
    params: new Map(paths.map((path) => [path, [lowRankTerm({ a: ref([2, 4]), b: ref([4, 2]) }, { scale: 1 })]])),
  },
  replaced: new Map(),
  digest: 'sha256:0',
});

describe('an adapter', () => {
  const classic = 'body.encoder.layer.0.attention.query.weight';
  const own = 'body.layers.0.attention.q_proj.weight';

  it('comes under the names of the model', () => {
    const given = adapterOf(classic, 'classifier.weight');
    const { delta } = underOwnPaths(given, targets);
    expect([...delta.params.keys()]).toEqual([own, 'classifier.weight']);
    expect([...delta.shape.keys()]).toEqual([own, 'classifier.weight']);
    expect(delta.params.get(own)).toEqual(given.delta.params.get(classic));
  });

  it('stays the same object when it has those names', () => {
    const given = adapterOf(own);
    expect(underOwnPaths(given, targets)).toBe(given);
  });

  it('adds what it has under two names, and refuses to replace twice', () => {
    const both = adapterOf(classic, own);
    expect(underOwnPaths(both, targets).delta.params.get(own)).toEqual([
      ...both.delta.params.get(classic)!,
      ...both.delta.params.get(own)!,
    ]);
    const twice = { ...adapterOf(own), replaced: new Map([classic, own].map((path) => [path, ref([4, 4])])) };
    expect(() => underOwnPaths(twice, targets)).toThrow(/replaces a parameter twice/);
  });
});

describe('a base in the names of a file', () => {
  const parameters = new Map(targets.map(({ path }) => [`${path}.weight`, ref([4, 4])]));
  const tensors = (module: string) => [`base_model.model.${module}.lora_A.weight`];

  it('takes the aliases everywhere when the tensors have one', () => {
    const base = baseNamedAs(tensors('body.encoder.layer.0.attention.query'), { targets, parameters });
    expect(base.targets!.map(({ path }) => path)).toContain('body.encoder.layer.1.intermediate.dense');
    expect([...base.parameters!.keys()]).toContain('body.encoder.layer.1.attention.query.weight');
    expect(base.targets!.at(-1)!.path).toBe('classifier');
  });

  it('stays as it is otherwise', () => {
    const base = { targets, parameters };
    expect(baseNamedAs(tensors(queries[0]!), base)).toBe(base);
    expect(baseNamedAs(tensors('classifier'), {})).toEqual({});
  });
});
