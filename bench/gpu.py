"""Benben on a graphics processor beside PyTorch (dense, torch.compile), pykeops and CuPy where they are installed: times of
one product, pairs per second, and the share of what the device's special-function units (Gaussian, log-sum-exp) or its
instruction issue (selections) allow. Arrays of Benben lie on the host, so its times include copying; those of the others on the
device. `make bench-gpu`; --quick: small sizes only; --target opencl runs the same on any OpenCL device."""
import argparse
import json
import pathlib
import platform
import sys
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "python"))
import bb  # noqa: E402

CASES = {  # name: (formula, special functions a pair)
    "gauss": ("sum_j(exp(-sqdist(x, y)) * b)", 1),
    "logsumexp": ("logsumexp_j(-sqdist(x, y))", 1),
    "argmin": ("argmin_j(sqdist(x, y))", 0),
    "argkmin10": ("argkmin_j(sqdist(x, y), 10)", 0),
}
SIZES = [(10**4, 3), (10**5, 3), (10**6, 3), (10**5, 10), (10**5, 50)]


def best_of(run, seconds=1.0):
    run()
    times, end = [], time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def benben(name, x, y, b, target):
    d = x.shape[1]
    values = {"x": x, "y": y, "b": b}
    program = bb.parse(CASES[name][0], f"x:i{d}", f"y:j{d}", "b:j1")
    kernel = program.compile(target=target)
    inputs = [values[v] for v, _, _ in program.variables]
    return lambda: kernel(*inputs)


def torch_forms(name, x, y, b):
    try:
        import torch
    except ImportError:
        return {}
    if not torch.cuda.is_available():
        return {}
    x, y, b = (torch.tensor(v, device="cuda") for v in (x, y, b))
    if len(x) * len(y) > 4 * 10**8:  # dense matrices beyond that do not fit
        return {}

    def dense(x, y, b):
        d2 = (x[:, None] - y[None]).square().sum(-1) if x.shape[1] <= 3 else torch.cdist(x, y).square()
        if name == "gauss":
            return torch.exp(-d2) @ b
        if name == "logsumexp":
            return torch.logsumexp(-d2, 1)
        return d2.argmin(1) if name == "argmin" else d2.topk(10, 1, largest=False).indices

    def timed(function):
        def run():
            function(x, y, b)
            torch.cuda.synchronize()
        return run
    return {"torch": timed(dense), "torch.compile": timed(torch.compile(dense))}


def keops_forms(name, x, y, b):
    try:
        import torch
        from pykeops.torch import LazyTensor
    except ImportError:
        return {}
    if not torch.cuda.is_available():
        return {}
    x, y, b = (torch.tensor(v, device="cuda") for v in (x, y, b))
    d2 = ((LazyTensor(x[:, None]) - LazyTensor(y[None])) ** 2).sum(-1)

    def run():
        if name == "gauss":
            (-d2).exp() @ b
        elif name == "logsumexp":
            (-d2).logsumexp(1)
        elif name == "argmin":
            d2.argmin(1)
        else:
            d2.argKmin(10, 1)
        torch.cuda.synchronize()
    return {"pykeops": run}


def limit():
    """(special functions, instructions of lanes) a second, of the first CUDA device; None where it cannot be told."""
    try:
        import torch
        properties = torch.cuda.get_device_properties(0)
        clock = getattr(properties, "clock_rate", 1980000) * 1e3
        return properties.multi_processor_count * 16 * clock, properties.multi_processor_count * 128 * clock
    except (ImportError, RuntimeError, AssertionError):
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default="cuda")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--output", default=str(bb.BUILD / "bench-gpu.json"))
    options = parser.parse_args()
    rng, rows, rates = np.random.default_rng(0), [], limit()
    for n, d in SIZES[:1] if options.quick else SIZES:
        x, y, b = rng.random((n, d)).astype("f4"), rng.random((n, d)).astype("f4"), rng.random((n, 1)).astype("f4")
        for name in CASES:
            forms = {"benben": benben(name, x, y, b, options.target), **torch_forms(name, x, y, b), **keops_forms(name, x, y, b)}
            for system, run in forms.items():
                try:
                    seconds = best_of(run)
                except Exception as error:  # a peer that fails shall not stop the others
                    print(f"{name} {n} x {n} x {d}: {system}: {error}".splitlines()[0])
                    continue
                row = {"case": name, "n": n, "d": d, "system": system, "seconds": seconds, "pairs_per_second": n * n / seconds}
                if rates and CASES[name][1]:
                    row["share_of_special_functions"] = n * n * CASES[name][1] / seconds / rates[0]
                rows.append(row)
                share = f", {100 * row['share_of_special_functions']:.0f} % of the limit" if len(row) > 6 else ""
                print(f"{name:10} {n:>8} x {n:<8} D={d:<3} {system:14} {1e3 * seconds:10.3f} ms  {n * n / seconds:9.3g} pairs/s{share}")
    machine = {"system": platform.platform(), "target": options.target, "date": time.strftime("%Y-%m-%d")}
    pathlib.Path(options.output).write_text(json.dumps({"machine": machine, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
