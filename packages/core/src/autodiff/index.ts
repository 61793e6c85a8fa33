export { gradients } from './gradients.js';
export type { Rule, RuleContext, Rules } from './rule.js';
export { rules } from './rules.js';
