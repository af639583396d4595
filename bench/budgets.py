#!/usr/bin/python3
"""The table of budgets at the end of `make bench`.

A benchmark calls note(); it appends a line to the file that QUERN_BENCH_TABLE names (nothing when it is not set). Run as a program with that file,
this prints the table: what, goal, measured, how far from the goal (1.00 = just met, more is worse), and what it was measured beside."""
import os
import sys


def note(what, goal, measured, unit, at_least=False, beside=""):
    """`goal` is the most that `measured` may be, or with `at_least` the least."""
    path = os.environ.get("QUERN_BENCH_TABLE")
    if path:
        with open(path, "a", encoding="utf-8") as f:
            f.write("\t".join((what, ">=" if at_least else "<=", str(goal), str(measured), unit, beside)) + "\n")


def number(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def rows(path):
    with open(path, encoding="utf-8") as f:
        for line in f:
            what, sign, goal, measured, unit, beside = line.rstrip("\n").split("\t")
            goal, measured = float(goal), float(measured)
            part = goal / measured if sign == ">=" and measured else measured / goal
            yield what, f"{sign} {number(goal)} {unit}", f"{number(measured)} {unit}", f"{part:.2f}", "met" if part <= 1 else "MISSED", beside


def main():
    head = ("what", "goal", "measured", "of it", "", "beside, in the same run")
    table = [head, *rows(sys.argv[1])]
    widths = [max(len(row[i]) for row in table) for i in range(len(head))]
    for row in table:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip())
    print(f"load of the machine now: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors; with other work on it the times say little")


if __name__ == "__main__":
    main()
