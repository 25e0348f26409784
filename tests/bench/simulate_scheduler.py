#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Discrete-event simulation of the queue that hands out points (src/par/queue.c, src/sweep/run.c).

    simulate_scheduler.py                                      the table: ranks x points x seconds per point
    simulate_scheduler.py --check                              quick self-check against cases that can be worked out
    simulate_scheduler.py --of RUN.h5 --ranks N --wall S       a real run again: its points' times, its wall seconds

As the program without a time limit (with one, points that do not fit any more are passed over, sweep/slot.c, which takes
a microsecond): points go out in the order of the queue, dearest first; a rank that has computed sends its question,
writes, sends its report and then looks for the answer, after pauses that double from 20 microseconds to 1 ms; the
manager serves every note that waits, then sleeps 1 ms. Costs: `mpirun -n 8 test_queue load` gives 2 microseconds for both
notes of a point; 4 for each leave room for the listener and a busy node. A synced write of one local disk took 4.5 ms.

Against runs of 64 ranks on two cores and one local disk (bench_many_points.sh, wall seconds without the start): commits
wait for one another there, and the 20 ms that fit 1,000 points (--disk 0.02: simulated / measured 1.04) give 10,000
points within 10 per cent (0.90). Times of points are taken from the run, so this tests the queue and the commits alone.
"""

import argparse
import heapq
import sys

NOTE = 4e-6  # seconds the manager spends on a note, at most
MANAGER_PAUSE = 1.06e-3  # usleep(1000), as it takes on Linux
FIRST_PAUSE, LAST_PAUSE = 20e-6, 1e-3  # of a client that waits for its answer
WRITE = 5e-3  # a commit: slabs, fdatasync, checksum, status


class Manager:
    """Serves all waiting notes, sleeps, looks again. Notes must be given in order of time."""

    def __init__(self, note, pause):
        self.note, self.pause = note, pause
        self.free = 0.0  # when it has served what it knew of
        self.busy, self.notes, self.longest = 0.0, 0, 0.0

    def serve(self, sent):
        """When a note that was sent then has been acted on."""
        if sent <= self.free:  # comes while it serves others
            start = self.free
        else:  # it sleeps: the first look after the note
            start = self.free + (int((sent - self.free) / self.pause) + 1) * self.pause
        self.free = start + self.note
        self.busy += self.note
        self.notes += 1
        self.longest = max(self.longest, self.free - sent)
        return self.free


def seen(asked, answered):
    """When a client that looks after doubling pauses sees an answer."""
    look, pause = asked, FIRST_PAUSE
    while look < answered:
        look += pause
        pause = min(2 * pause, LAST_PAUSE)
        if pause == LAST_PAUSE and look < answered:
            return look + (int((answered - look) / pause) + 1) * pause
    return look


def simulate(seconds, ranks, note=NOTE, pause=MANAGER_PAUSE, write=WRITE, disk=0.0):
    """Runs the queue. `seconds`: of the points, in the order in which they go out. `write`: seconds of a commit, `disk`
    those of them in which no other rank can commit. Returns wall seconds and shares."""
    manager = Manager(note, pause)
    events = [(0.0, rank, "ask", rank) for rank in range(ranks)]
    order = ranks  # breaks ties in the order of sending
    heapq.heapify(events)
    given, wall, disk_free, waited = 0, 0.0, 0.0, 0.0
    answers, written = {}, dict.fromkeys(range(ranks), 0.0)

    def push(time, kind, rank):
        nonlocal order
        heapq.heappush(events, (time, order, kind, rank))
        order += 1

    def take(rank):
        """The answer is there and the last point is written: the next one begins."""
        nonlocal waited, wall
        answer, point = answers[rank]
        start = max(seen(written[rank], answer), written[rank])
        waited += start - written[rank]
        if point is None:
            wall = max(wall, start)
        else:
            push(start + seconds[point], "computed", rank)

    while events:
        time, _, kind, rank = heapq.heappop(events)
        if kind in ("ask", "computed"):
            answers[rank] = (manager.serve(time), given if given < len(seconds) else None)
            given += 1
            if kind == "ask":
                take(rank)
            else:
                begin = max(time, disk_free)
                disk_free = begin + disk
                push(begin + max(write, disk), "written", rank)
        elif kind == "written":
            manager.serve(time)
            written[rank] = time
            take(rank)
    return {
        "wall": wall,
        "manager": manager.busy / wall,
        "ranks": sum(seconds) / (ranks * wall),
        "longest": manager.longest,
        "waited": waited / len(seconds),
    }


def spread(mean, count):
    """Point times from half to twice the mean, as methods differ, dearest first."""
    times = [0.5 * 4 ** (i / max(count - 1, 1)) for i in range(count)]
    scale = mean * count / sum(times)
    return sorted((scale * t for t in times), reverse=True)


def print_table(write):
    print(f"commit {write * 1e3:.1f} ms, note {NOTE * 1e6:.0f} us, manager looks every {MANAGER_PAUSE * 1e3:.2f} ms")
    print(f"{'ranks':>5} {'points':>6} {'s/point':>7} {'wall s':>9} {'manager busy':>12} {'ranks busy':>10} "
          f"{'longest note':>12} {'wait/point':>10}")
    for ranks in (64, 256, 1000):
        for points in (1000, 10000):
            for mean in (0.1, 1, 10, 120):
                r = simulate(spread(mean, points), ranks, write=write)
                print(f"{ranks:5} {points:6} {mean:7} {r['wall']:9.2f} {r['manager']:11.2%} {r['ranks']:9.1%} "
                      f"{r['longest'] * 1e3:9.2f} ms {r['waited'] * 1e3:7.2f} ms")


def check():
    """What can be worked out by hand must come out."""
    one = simulate([1.0] * 10, 1, write=0.5)
    assert abs(one["wall"] - 15) < 0.03, one  # one after the other, answers are there after the write
    even = simulate([1.0] * 640, 64, write=0)
    assert 10 < even["wall"] < 10.1, even  # ten rounds
    tail = simulate([5.0] + [1.0] * 30, 8, write=0)
    assert abs(tail["wall"] - 5) < 0.1, tail  # the dearest first hides behind the others
    disk = simulate([0.0] * 1000, 16, write=0.01, disk=0.01)
    assert abs(disk["wall"] - 10) < 0.2, disk  # the disk alone
    served = simulate([0.0] * 1000, 64, note=1e-2, write=0)
    assert served["wall"] > 19 and served["manager"] > 0.95, served  # the manager alone: two notes a point
    slow = simulate([0.1] * 1000, 64, pause=1.0, write=0)
    assert slow["wall"] > 2 * simulate([0.1] * 1000, 64, write=0)["wall"], slow  # a manager that looks rarely


def times_of(path):
    """Seconds of the points of a results file, in its order: that of the queue where all points are of one kind."""
    import h5py

    with h5py.File(path) as file:
        done = file["points/status"][:] == 1
        return [float(s) for s in file["points/seconds"][:][done]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--of", metavar="RUN.h5")
    parser.add_argument("--ranks", type=int, default=64)
    parser.add_argument("--wall", type=float, help="seconds from the first question to the last commit")
    parser.add_argument("--write", type=float, default=WRITE, help="seconds of a commit")
    parser.add_argument("--disk", type=float, default=0.0, help="of these, seconds in which no other rank can commit")
    options = parser.parse_args()
    if options.check:
        check()
    elif options.of:
        result = simulate(times_of(options.of), options.ranks, write=options.write, disk=options.disk)
        print(f"simulated {result['wall']:.2f} s, manager busy {result['manager']:.2%}, ranks {result['ranks']:.1%}")
        if options.wall:
            print(f"measured {options.wall:.2f} s: simulated / measured {result['wall'] / options.wall:.2f}")
    else:
        print_table(options.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
