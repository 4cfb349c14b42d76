"""Stands in for recipes/finetune.py: takes its words and writes its files, within milliseconds.

The trigger says how it ends: refuse, fail, crash, die, wait, deaf; anything else: well.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

WORDS = dict(word.split("=", 1) for word in sys.argv[1:])
RUN = Path("runs") / WORDS["name"]
HOW = WORDS.get("trigger", "")
PLAN = {
    "songs": 1, "music_seconds": 4.0, "separator": "none", "base": WORDS["base"],
    "parameters": 6_400_000, "method": "lora", "device": "CPU, 1 thread", "preset": "cpu",
    "memory": 2_000_000_000, "device_memory": 16_000_000_000, "steps": 150,
    "segments_per_step": 8, "segment_duration": 8.0,
}  # fmt: skip


def write(name, content):
    path = RUN / name
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.tmp")
    partial.write_text(content if isinstance(content, str) else json.dumps(content))
    os.replace(partial, path)


def status(state, file="status.json", **more):
    stages = [{"name": "train", "title": "Training", "state": state, "seconds": None}]
    songs = [{"song": "a.wav", "state": "prepared", "reason": ""}]
    told = {
        "name": RUN.name, "state": state, "pid": os.getpid(), "message": "", "stage": "train",
        "progress": 0.5, "note": "step 3", "eta": 7.0, "stages": stages, "songs": songs,
        "estimate": {"prepare": 5.0, "train": 60.0}, "plan": PLAN, "updated": time.time(),
    }  # fmt: skip
    write(file, told | more)


def work():
    if HOW == "refuse":
        print("an odd line\nerror: vocals cannot be taken out: say separator=none", flush=True)
        sys.exit(2)
    if "estimate" in WORDS:
        return status("done", "estimate.json")
    status("running")
    if HOW == "fail":
        status("failed", message=f"{Path(WORDS['input_dir']) / 'a.wav'}: is silent; remove it")
        sys.exit(2)
    if HOW == "crash":
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
    if HOW == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if HOW == "deaf":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("deaf", flush=True)
    while HOW in ("wait", "deaf"):
        time.sleep(0.05)
    rows = [{"song": "a.wav", "caption": "calm", "composed": "calm", "trigger": HOW}]
    write("captions.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return status("done", progress=1.0, eta=None)


def terminate(*_):
    sys.exit(143)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, terminate)
    write("words.json", {"words": sys.argv[1:], "environment": sorted(os.environ)})
    print(f"at work in {RUN.resolve()} on {WORDS['input_dir']}", flush=True)
    try:
        work()
    except KeyboardInterrupt:
        status("stopped")
        sys.exit(130)
    except SystemExit as error:
        if error.code == 143:
            status("stopped")
        raise
