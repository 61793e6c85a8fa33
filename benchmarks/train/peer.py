"""PyTorch + PEFT doing what `ours.ts` and `peft train` do, for comparison in one run. Prints one JSON line.

peer.py step  MODEL STEPS [full]        a fixed step: batch 16 x 128, AdamW, LoRA r 8 on query and value or all numbers
peer.py epoch MODEL TRAIN.tsv OUT       one epoch from this command to the saved adapter
"""
import csv, json, sys, time

started = time.time()
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoTokenizer, BertForSequenceClassification

torch.set_num_threads(2)
torch.manual_seed(0)


def build(directory, labels, full=False):
    model = BertForSequenceClassification.from_pretrained(
        directory, num_labels=labels, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    config = LoraConfig(
        task_type="SEQ_CLS", r=8, lora_alpha=16, lora_dropout=0.0, target_modules=["query", "value"], modules_to_save=["classifier"]
    )
    if not full:
        model = get_peft_model(model, config)
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    return model, torch.optim.AdamW(trained, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)


def step(directory, steps, what="lora"):
    model, optimizer = build(directory, 2, full=what == "full")
    ids = torch.randint(1000, 20000, (16, 128))
    mask = torch.ones_like(ids)
    labels = torch.arange(16) % 2
    seconds = []
    for _ in range(int(steps)):
        t = time.time()
        optimizer.zero_grad()
        model(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
        optimizer.step()
        seconds.append(time.time() - t)
    print(json.dumps({"seconds": seconds}))


def epoch(directory, file, out):
    with open(file, newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))
    labels = sorted({row["label"] for row in rows}, key=int)
    model, optimizer = build(directory, len(labels))
    tokenizer = AutoTokenizer.from_pretrained(directory)
    encoded = [tokenizer(row["text"], truncation=True, max_length=128)["input_ids"] for row in rows]
    targets = torch.tensor([int(row["label"]) for row in rows])
    order = torch.randperm(len(rows)).tolist()
    n = len(rows) // 32
    warm = round(0.06 * n)
    losses = []
    for t in range(n):
        picked = order[t * 32 : (t + 1) * 32]
        width = max(len(encoded[i]) for i in picked)
        ids = torch.zeros((32, width), dtype=torch.long)
        mask = torch.zeros((32, width), dtype=torch.long)
        for row, i in enumerate(picked):
            ids[row, : len(encoded[i])] = torch.tensor(encoded[i])
            mask[row, : len(encoded[i])] = 1
        rate = 1e-3 * min((t + 1) / warm, (n - t) / (n - warm))
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        loss = model(input_ids=ids, attention_mask=mask, labels=targets[picked]).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.save_pretrained(out)
    print(json.dumps({"steps": n, "loss": sum(losses) / n, "seconds": time.time() - started}))


{"step": step, "epoch": epoch}[sys.argv[1]](*sys.argv[2:])
