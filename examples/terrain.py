"""`make demo`: hands the Jacksboro fault's elevation model, which ships with matplotlib, to examples/terrain.c,
checks its results against float64 on a sample, and draws them."""
import argparse
import pathlib
import subprocess
import sys
import time

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib import cbook
from matplotlib.colors import LightSource

SAMPLES, CHECKED, NEIGHBOURS = 20000, 200, 10
WIDTH, CORRELATION, RIDGE, HEIGHT_UNIT = 0.3, 1.0, 1e-2, 100.0  # as in terrain.c


def elevation():
    """heights (344, 403) in m, east and north of each point in km"""
    model = cbook.get_sample_data("jacksboro_fault_dem.npz")
    height = model["elevation"].astype(np.float32)
    km = np.pi / 180 * 6371.0
    north = -np.arange(height.shape[0]) * float(model["dy"]) * km
    middle = np.deg2rad((float(model["ymin"]) + float(model["ymax"])) / 2)
    east = np.arange(height.shape[1]) * float(model["dx"]) * km * np.cos(middle)
    return height, east - east[0], north - north[-1]


def check_sample(place, height, smooth, slope, neighbours, rng):
    """Errors on some rows, each against all points in float64."""
    rows = rng.choice(len(place), CHECKED, replace=False)
    x, y, h = place[rows].astype(np.float64), place.astype(np.float64), height.astype(np.float64)
    r = x[:, None] - y[None]
    k = np.exp(-(r ** 2).sum(-1) / (2 * WIDTH ** 2))
    total = k.sum(1, keepdims=True)
    mean = k @ h[:, None] / total
    exact_slope = np.einsum("mnd,mn->md", -r / WIDTH ** 2, k * (h[None] - mean)) / total
    points = np.concatenate([place, height[:, None] / np.float32(HEIGHT_UNIT)], 1).astype(np.float64)
    q = ((points[rows][:, None] - points[None]) ** 2).sum(-1)
    nearest = np.sort(q, axis=1)[:, :NEIGHBOURS]
    found = np.take_along_axis(q, neighbours[rows], 1)
    print(f"against float64, {CHECKED} rows: smoothing {np.abs(smooth[rows] - mean[:, 0]).max():.1e} m, slope "
          f"{np.abs(slope[rows] - exact_slope).max():.1e} m/km, squared distances of the neighbours "
          f"{np.abs(found - nearest).max():.1e}")


def check_interpolation(place, height, samples, interpolated, weights, rng):
    """Residual of the system on some rows, error at the points that were not sampled."""
    chosen, h = place[samples].astype(np.float64), height[samples].astype(np.float64)
    rows = rng.choice(len(samples), CHECKED, replace=False)
    distance = np.sqrt(((chosen[rows][:, None] - chosen[None]) ** 2).sum(-1))
    b = weights.astype(np.float64)
    residual = np.exp(-distance / CORRELATION) @ b + RIDGE * b[rows] - (h - h.mean())[rows]
    others = np.setdiff1d(np.arange(len(height)), samples)
    error = interpolated[others] - height[others]
    print(f"residual in float64, {CHECKED} rows: {np.sqrt((residual ** 2).mean()):.3f} m root mean square")
    print(f"interpolation at the other {len(others)} points: error {np.sqrt((error ** 2).mean()):.1f} m root mean "
          f"square, {np.abs(error).max():.0f} m at most; the heights themselves vary by {height.std():.0f} m")
    return np.sqrt((error ** 2).mean())


def draw(path, shape, extent, height, smooth, interpolated, slope):
    light = LightSource(azdeg=315, altdeg=45)
    low, high = height.min(), height.max()

    def relief(axes, values, title):
        image = light.shade(values.reshape(shape), plt.cm.gist_earth, blend_mode="soft", vert_exag=0.05,
                            vmin=low, vmax=high)
        axes.imshow(image, extent=extent)
        axes.set_title(title)

    figure, axes = plt.subplots(2, 3, figsize=(16, 11), layout="constrained")
    relief(axes[0, 0], height, "terrain")
    relief(axes[0, 1], smooth, f"smoothed, {WIDTH} km")
    steep = axes[0, 2].imshow(np.linalg.norm(slope, axis=1).reshape(shape), extent=extent, cmap="magma")
    axes[0, 2].set_title("slope of the smoothed terrain, m/km")
    figure.colorbar(steep, ax=axes[0, 2], shrink=0.8)
    relief(axes[1, 0], interpolated, f"interpolated from {SAMPLES} samples")
    error = axes[1, 1].imshow((interpolated - height).reshape(shape), extent=extent, cmap="RdBu", vmin=-60, vmax=60)
    axes[1, 1].set_title("error of the interpolation, m")
    figure.colorbar(error, ax=axes[1, 1], shrink=0.8)
    axes[1, 2].hist(interpolated - height, bins=200, range=(-100, 100), color="0.4")
    axes[1, 2].set_title("error of the interpolation, m: histogram")
    for a in axes.flat[:5]:
        a.set_xlabel("km east")
        a.set_ylabel("km north")
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True, help="the program built from examples/terrain.c")
    parser.add_argument("--output", required=True, type=pathlib.Path, help="folder of the results")
    options = parser.parse_args()
    start = time.monotonic()
    options.output.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)

    grid, east, north = elevation()
    x, y = np.meshgrid(east, north)
    place = np.stack([x.ravel(), y.ravel()], 1).astype(np.float32)
    height = grid.ravel()
    samples = np.sort(rng.choice(height.size, SAMPLES, replace=False)).astype(np.int64)
    np.concatenate([place, height[:, None]], 1).tofile(options.output / "grid.f32")
    samples.tofile(options.output / "samples.i64")
    print(f"Jacksboro fault: {grid.shape[0]} x {grid.shape[1]} points, {east[-1]:.0f} x {north[0]:.0f} km, heights "
          f"{grid.min():.0f} to {grid.max():.0f} m", flush=True)
    done = subprocess.run([options.program, str(options.output), str(height.size), str(SAMPLES)])
    if done.returncode:
        return done.returncode

    def result(name, dtype, *shape):
        return np.fromfile(options.output / name, dtype).reshape(*shape)

    smooth, slope = result("smooth.f32", np.float32, -1), result("slope.f32", np.float32, -1, 2)
    neighbours = result("neighbours.i64", np.int64, -1, NEIGHBOURS)
    interpolated, weights = result("interpolated.f32", np.float32, -1), result("weights.f32", np.float32, -1)
    check_sample(place, height, smooth, slope, neighbours, rng)
    check_interpolation(place, height, samples, interpolated, weights, rng)
    extent = (east[0], east[-1], north[-1], north[0])
    draw(options.output / "terrain.png", grid.shape, extent, height, smooth, interpolated, slope)
    print(f"{options.output / 'terrain.png'} written; {time.monotonic() - start:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
