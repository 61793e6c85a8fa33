"""Runs prompts in llama.cpp with and without a GGUF adapter that peftjs wrote. Called by gguf.ts.

gguf.py WORK: WORK/cases.json has {model, adapter, prompts: [ids]}; writes WORK/llama.safetensors with `base` and
`adapted`, the logits behind the last token [prompts, vocabulary]; prints one JSON line.
"""
import json, sys

import llama_cpp
import numpy as np
from safetensors.numpy import save_file

work = sys.argv[1]
case = json.load(open(f"{work}/cases.json"))


def last_logits(**options):
    model = llama_cpp.Llama(model_path=case["model"], n_ctx=256, logits_all=True, verbose=False, **options)
    rows = []
    for ids in case["prompts"]:
        model.reset()
        model.eval(ids)
        rows.append(np.array(model.scores[len(ids) - 1], dtype=np.float32))
    return np.stack(rows)


save_file(
    {"base": last_logits(), "adapted": last_logits(lora_path=case["adapter"], lora_scale=1.0)},
    f"{work}/llama.safetensors",
)
print(json.dumps({"llama_cpp_python": llama_cpp.__version__}))
