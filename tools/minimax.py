#!/usr/bin/env python3
"""Coefficients of src/backend/prelude/math*.h: minimax polynomials by the Remez exchange.

    minimax.py            prints every table
    minimax.py exp2 f64   prints one

Each row of TABLE asks for p of degree n, minimising max |p(x) - g(x)| w(x) over [a, b]: g is what is left
of the function once the terms that the code adds itself are taken away, w turns the error of p into the
relative error of the final result. The leading coefficients are rounded to the working format one by one
and the rest fitted again, so that the printed error is that of the rounded polynomial. Needs mpmath.
"""
import sys
from mpmath import (mp, mpf, matrix, lu_solve, cos, sin, pi, log, exp, sqrt, expm1, log1p, asin, atan, tanh,
                    sinh, erf, erfc, fabs, floor, frexp, ldexp)

mp.dps = 60
GRID = 1200


def rounded(x, bits):
    """x to the nearest number of `bits` significant bits."""
    m, e = frexp(x)
    return ldexp(floor(ldexp(m, bits) + mpf(1) / 2), e - bits)


def exchange(g, w, nodes, degree):
    """The polynomial of the degree with the smallest weighted error on the nodes (values g, weights w)."""
    count = degree + 2
    last = len(nodes) - 1
    at = sorted({round(last * (1 - cos(pi * (2 * i + 1) / (2 * count))) / 2) for i in range(count)})
    for _ in range(30):
        system, right = matrix(count, count), matrix(count, 1)
        for row, i in enumerate(at):
            for c in range(degree + 1):
                system[row, c] = nodes[i] ** c
            system[row, degree + 1] = (-1) ** row / w[i]
            right[row] = g[i]
        solution = lu_solve(system, right)
        p = [solution[c] for c in range(degree + 1)]
        error = [(value(p, x) - gi) * wi for x, gi, wi in zip(nodes, g, w)]
        peaks = []  # the largest error of each run of one sign
        for i, e in enumerate(error):
            if peaks and (error[peaks[-1]] > 0) == (e > 0):
                if fabs(e) > fabs(error[peaks[-1]]):
                    peaks[-1] = i
            else:
                peaks.append(i)
        while len(peaks) > count:
            peaks.pop(0 if fabs(error[peaks[0]]) < fabs(error[peaks[-1]]) else -1)
        worst = max(fabs(e) for e in error)
        if len(peaks) < count or worst < fabs(solution[degree + 1]) * mpf("1.001"):
            break
        at = peaks
    return p, worst


def value(p, x):
    total = mpf(0)
    for c in reversed(p):
        total = total * x + c
    return total


def fit(g, w, a, b, degree, bits):
    """The rounded coefficients and the largest weighted error."""
    nodes = [a + (b - a) * (1 - cos(pi * (i + mpf(1) / 2) / GRID)) / 2 for i in range(GRID)]
    weights = [w(x) for x in nodes]
    left = [g(x) for x in nodes]
    done = []
    for i in range(degree + 1):
        if i < 4 or i == degree:
            p, _ = exchange(left, weights, nodes, degree - i)
        done.append(rounded(p[0], bits))
        left = [(l - done[-1]) / x for l, x in zip(left, nodes)]
        weights = [wi * x for wi, x in zip(weights, nodes)]
        if i >= 3:
            p = p[1:]
    worst = max(fabs(value(done, x) - g(x)) * fabs(w(x)) for x in nodes)
    return done, worst


def scaled_erfc(x):
    return (1 + 2 * x) * exp(x * x) * erfc(x)


def odd(f):
    """g and w of f(r) = r + r z p(z), z = r^2."""
    return lambda z: (f(sqrt(z)) / sqrt(z) - 1) / z, lambda z: z * sqrt(z) / f(sqrt(z))


def log_odd(z):
    return log((1 + sqrt(z)) / (1 - sqrt(z))) / sqrt(z)


LOG_END = ((sqrt(2) - 1) / (sqrt(2) + 1)) ** 2
QUARTER = (pi / 4) ** 2
LN2 = log(2)
# name: g, w, a, b (one for each type if they differ), degree in float, degree in double
TABLE = {
    # 2^f = 1 + f p(f)
    "exp2": (lambda f: expm1(f * LN2) / f, lambda f: fabs(f) / 2 ** f, mpf(-1) / 2, mpf(1) / 2, 5, 10),
    "exp2-fine": (lambda f: expm1(f * LN2) / f, lambda f: fabs(f) / 2 ** f, mpf(-1) / 2, mpf(1) / 2, 6, 11),
    # the same between the entries of a table; in float the code has what a search near it found best
    "exp2-floor": (lambda f: expm1(f * LN2) / f, lambda f: fabs(f) / 2 ** f, mpf(0),
                   (mpf(1) / 32, mpf(1) / 16), 1, 5),
    "exp2-eighth": (lambda f: expm1(f * LN2) / f, lambda f: fabs(f) / 2 ** f, mpf(-1) / 16, mpf(1) / 16, 2, 8),
    # e^f = 1 + f + f^2 p(f)
    "exp": (lambda f: (expm1(f) - f) / f ** 2, lambda f: f ** 2 / exp(f), -LN2 / 2, LN2 / 2, 4, 9),
    # log(1 + f) = f - f^2/2 + s (f^2/2 + z p(z)), s = f/(2 + f), z = s^2
    "log": (lambda z: (log_odd(z) - 2) / z, lambda z: z / 2, mpf(0), LOG_END, 2, 6),
    # log((1 + s)/(1 - s)) = 2 s + s z (2/3 + z p(z)), to a third of a word more than the format
    "log-long": (lambda z: (log_odd(z) - 2 - 2 * z / 3) / z ** 2, lambda z: z ** 2 / 2, mpf(0),
                 LOG_END, 3, 8),
    # sin r = r + r z p(z), cos r = 1 - z/2 + z^2 p(z), z = r^2
    "sin": (lambda z: (sin(sqrt(z)) / sqrt(z) - 1) / z, lambda z: z * sqrt(z) / sin(sqrt(z)), mpf(0),
            QUARTER, 2, 5),
    "cos": (lambda z: (cos(sqrt(z)) - 1 + z / 2) / z ** 2, lambda z: z ** 2 / cos(sqrt(z)), mpf(0),
            QUARTER, 2, 5),
    # atan r = r + r z p(z) up to tan(pi/8); asin r likewise up to 1/2; sinh up to 1; tanh up to 0.55
    "atan": (*odd(atan), mpf(0), (sqrt(2) - 1) ** 2, 4, 10),
    "asin": (*odd(asin), mpf(0), mpf(1) / 4, 4, 11),
    "sinh": (*odd(sinh), mpf(0), mpf(1), 3, 6),
    "tanh": (*odd(tanh), mpf(0), mpf("0.55") ** 2, 4, 9),
    # erf r = r + r p(z) up to 1
    "erf": (lambda z: erf(sqrt(z)) / sqrt(z) - 1, lambda z: sqrt(z) / erf(sqrt(z)), mpf(0), mpf(1), 6, 12),
    # (1 + 2 x) e^(x^2) erfc x = p(t), t = (x - 4)/(x + 4), from 1/2 on to where erfc underflows
    "erfc": (lambda t: scaled_erfc(4 * (1 + t) / (1 - t)), lambda t: 1 / scaled_erfc(4 * (1 + t) / (1 - t)),
             mpf("-3.52") / mpf("4.48"), (mpf("6.6") / mpf("14.6"), mpf("23.5") / mpf("31.5")), 10, 20),
}
# name: value, bits of the leading parts (float), (double): times a small integer they are exact
CONSTANTS = {
    "ln2": (LN2, (15,), (41,)),
    "log2e": (1 / LN2, (12,), (21,)),
    "log10e": (1 / log(10), (12,), (21,)),
    "log10(2)": (log(2) / log(10), (15,), (41,)),
    "2/3": (mpf(2) / 3, (24,), (53,)),
    "ln2 in full": (LN2, (24,), (53,)),
    "1/log 2 in full": (1 / LN2, (24,), (53,)),
    "pi/2": (pi / 2, (), (33, 33, 33)),
    "pi/2 short": (pi / 2, (33,), (53,)),
    "pi/4": (pi / 4, (22,), (51,)),
    "2/pi": (2 / pi, (), ()),
    "2/sqrt(pi) - 1": (2 / sqrt(pi) - 1, (), ()),
}


def parts(x, leading, bits):
    """x as a sum of numbers of the given significant bits."""
    result = []
    for b in (*leading, bits):
        result.append(rounded(x, b))
        x -= result[-1]
    return result


def main(arguments):
    names = [a for a in arguments if a in TABLE] or ([] if set(arguments) & set(CONSTANTS) else list(TABLE))
    formats = [a for a in arguments if a in ("f32", "f64")] or ["f32", "f64"]
    for name, (x, *leading) in CONSTANTS.items():
        for form, bits, lead in zip(("f32", "f64"), (24, 53), leading):
            if form in formats and (name in arguments or names == list(TABLE)):
                print(name, form, ", ".join(float(c).hex() for c in parts(x, lead, bits)))
    for name in names:
        g, w, a, b, single, double = TABLE[name]
        for form in formats:
            bits, degree = (24, single) if form == "f32" else (53, double)
            end = b[form == "f64"] if isinstance(b, tuple) else b
            p, worst = fit(g, w, a, end, degree, bits)
            print(f"{name} {form} degree {degree} error {mp.nstr(worst * mpf(2) ** bits, 3)} half ulps")
            print("    " + ", ".join(float(c).hex() for c in p), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
