/** ONNX Runtime's file of LoRA parameters: a FlatBuffer with these tables. */
export const identifier = 'TORT';
export const formatVersion = 1;

/** Fields of the tables, by their index in the schema. */
export const adapterFields = { formatVersion: 0, adapterVersion: 1, modelVersion: 2, parameters: 3 } as const;
export const parameterFields = { name: 0, dims: 1, dataType: 2, rawData: 3 } as const;

/** FlatBuffers address with 31 bits. */
export const maxBytes = 2 ** 31 - 1;
