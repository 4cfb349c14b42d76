"""Results of machines that there are not."""

FACTS = {
    "mode": "quick", "date": "2026-01-02T03:04+00:00", "commit": "abc1234",
    "versions": {"python": "3.12.1", "torch": "2.11.0"},
    "limits": {"float32": 1e11, "bfloat16": 2e11, "read": 3e10},
}  # fmt: skip
CPU = {"cpu": "Some CPU", "cores": 2, "threads": 2, "gpu": None, "gpu_gb": None, "system": "x"}
GPU = {**CPU, "gpu": "NVIDIA H100 80GB HBM3", "gpu_gb": 85.0}
