/** How a graph names the inputs of a module's factors: both ways. */
export interface SlotNames {
  a(module: string): string;
  b(module: string): string;
  /** The module and the factor of a name; undefined for other names. */
  read(name: string): { readonly module: string; readonly letter: 'a' | 'b' } | undefined;
}

/** Names that end alike: `${module}.lora_A${end}`. */
const ending = (end: string): SlotNames => ({
  a: (module) => `${module}.lora_A${end}`,
  b: (module) => `${module}.lora_B${end}`,
  read(name) {
    const at = name.length - `.lora_A${end}`.length;
    const letter = (['a', 'b'] as const).find((l) => name.slice(at) === `.lora_${l.toUpperCase()}${end}`);
    return letter && at > 0 ? { module: name.slice(0, at), letter } : undefined;
  },
});

/** The customs of the tools that make and feed such graphs. */
export const slotNames = {
  /** `model.layers.0.self_attn.q_proj.lora_A.weight`: Olive, and PEFT without its prefix. */
  olive: ending('.weight'),
  /** `model.layers.0.attn.q_proj.lora_A.MatMul.weight`: the builder of ONNX Runtime GenAI. */
  genai: ending('.MatMul.weight'),
  /** `fc.lora_A`. */
  plain: ending(''),
} as const satisfies Readonly<Record<string, SlotNames>>;
