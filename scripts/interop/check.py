"""Loads adapters that peftjs wrote into Hugging Face PEFT and compares logits. Called by index.ts and kinds.ts.

check.py WORK: WORK/cases.json lists {name, base, class, adapter, inputs, outputs}; prints one JSON line.
"""
import json, sys, warnings

import peft, torch, transformers
from safetensors.torch import load_file

warnings.simplefilter("error", UserWarning)  # PEFT only warns when tensors of the file find no place
warnings.filterwarnings("ignore", message=".*vera_A and vera_B")  # that they are drawn again, which is what is compared
transformers.logging.set_verbosity_error()
torch.sparse.check_sparse_tensor_invariants.enable()  # SHiRA's coordinates: in range, and torch asks to be told
results = []
for case in json.load(open(f"{sys.argv[1]}/cases.json")):
    options = {"num_labels": case["labels"]} if case["labels"] else {}
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        base = getattr(transformers, case["class"]).from_pretrained(case["base"], dtype=torch.float32, attn_implementation="eager", **options).eval()
    inputs = load_file(case["inputs"])
    ours = load_file(case["outputs"])["logits"]
    with torch.no_grad():
        plain = base(**inputs).logits
    model = peft.PeftModel.from_pretrained(base, case["adapter"]).eval()
    with torch.no_grad():
        theirs = model(**inputs).logits
    merged = model.merge_and_unload()
    with torch.no_grad():
        folded = merged(**inputs).logits
    scale = theirs.abs().max().item()
    results.append({
        "name": case["name"],
        "maxAbs": (theirs - ours).abs().max().item(),
        "relToMax": (theirs - ours).abs().max().item() / scale,
        "mergedRelToMax": (folded - ours).abs().max().item() / scale,
        "adapterChanges": (theirs - plain).abs().max().item(),
    })
print(json.dumps({"peft": peft.__version__, "torch": torch.__version__, "transformers": transformers.__version__, "results": results}))
