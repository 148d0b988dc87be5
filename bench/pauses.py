"""Pauses against their floor, and how they grow with what is not dirty."""

import subprocess

import harness
import loads
from figures import Figure, median, quantile
from loads import LoadOptions

FLOOR_GOAL = 1.3
GROWTH_GOAL = 3
SMALL_EPOCH_GOAL = 2
NONE_SKIPPED = 0.999
PAGES_OF_64_MIB = 16384

CASES = {
    "pause-100-pages": LoadOptions(dirty_pages=100),
    "pause-1000-pages": LoadOptions(dirty_pages=1000),
    "pause-10000-pages": LoadOptions(dirty_pages=10_000, resident_mb=128, period_us=50_000),
    "pause-64-mib": LoadOptions(dirty_pages=PAGES_OF_64_MIB, resident_mb=256, period_us=100_000),
    "pause-16-threads": LoadOptions(busy_threads=2, idle_threads=14),
    "pause-100-descriptors": LoadOptions(descriptors=100),
    "pause-8-processes": LoadOptions(processes=8, busy_processes=2),
    "pause-1-khz": LoadOptions(dirty_pages=100, period_us=1000),
}


def better_core(samples):
    """The samples of the cheaper way to pause: from a core of the group's, or from wherever."""
    kinds = [[sample for sample in samples if sample.same_core == kind] for kind in (False, True)]
    return min((kind for kind in kinds if kind), key=lambda kind: median([sample.pause_us for sample in kind]))


def series_of(context, options, rounds=None):
    """{what: samples in us} of Perdure, its parts, the floor and the witness, taken in turns; and the numbers of dirty pages, and the epochs."""
    series = {name: [] for name in ("perdure", "floor", "witness under perdure", "witness under the floor", "witness alone", *loads.PARTS[1:])}
    dirty = {"perdure": [], "floor": []}
    taken = []
    floor_samples = []
    for _ in range(rounds or context.rounds):
        report, epochs = loads.under_perdure(context, options)
        series["perdure"] += [epoch["pause_us"] for epoch in epochs]
        for part in loads.PARTS[1:]:
            series[part] += [epoch[part] for epoch in epochs]
        dirty["perdure"] += [epoch["dirty_pages"] for epoch in epochs]
        series["witness under perdure"] += loads.largest(report["gaps_us"], len(epochs))
        taken.append(epochs)
        report, samples = loads.under_floor(context, options)
        floor_samples += samples
        dirty["floor"] += [sample.dirty_pages for sample in samples]
        series["witness under the floor"] += loads.largest(report["gaps_us"], len(samples))
        report = loads.alone(context, options, context.seconds / 2)
        series["witness alone"] += loads.largest(report["gaps_us"], len(epochs) // 2 + 1)
    series["floor"] = [sample.pause_us for sample in better_core(floor_samples)]
    return series, dirty, taken


def rate_figure(name, options, taken):
    """Epochs taken in a second, against those asked for."""
    spans = [(epochs[-1]["time_ns"] - epochs[0]["time_ns"], len(epochs) - 1) for epochs in taken if len(epochs) > 1]
    elapsed_ns = sum(span for span, _ in spans)
    if not elapsed_ns:
        return Figure(f"{name}, epochs", note="too few epochs to tell")
    return Figure(f"{name}, epochs", sum(count for _, count in spans) / elapsed_ns * 1e9, 1e6 / options.period_us, "/s", "asked", NONE_SKIPPED, True)


def pause(context, name, options):
    series, dirty, taken = series_of(context, options)
    context.say(name, context.results.save_pauses(name, series))
    parts = " + ".join(f"{part.removesuffix('_us')} {median(series[part]):.0f}" for part in loads.PARTS[1:])
    pages = f"{median(dirty['perdure']):.0f} dirty pages, the floor {median(dirty['floor']):.0f}; {parts}"
    figures = [Figure(name, median(series["perdure"]), median(series["floor"]), goal=FLOOR_GOAL, note=pages),
               Figure(f"{name}, witness", median(series["witness under perdure"]), median(series["witness under the floor"]), reference_name="its witness"),
               Figure(f"{name}, p99.9", *(quantile(series[who], 0.999) for who in ("perdure", "floor")))]
    if options.period_us <= 1000:
        figures.append(rate_figure(name, options, taken))
    return figures


def hold(context):
    """A minute at 1 kHz: epochs taken against those asked for. Their numbers tell, since few of them are kept."""
    options = CASES["pause-1-khz"]
    seconds = 5 if context.quick else 60
    first = []
    _, epochs = loads.under_perdure(context, options, seconds, during=lambda group: first.append(group.log()[-1]))
    elapsed_ns = epochs[-1]["time_ns"] - first[0]["time_ns"]
    taken, asked = epochs[-1]["epoch"] - first[0]["epoch"], elapsed_ns // (options.period_us * 1000)
    times_ns = [epoch["time_ns"] for epoch in epochs]
    series = {"pause": [epoch["pause_us"] for epoch in epochs], "between two epochs": [(later - earlier) / 1000 for earlier, later in zip(times_ns, times_ns[1:])]}
    context.say("hold-1-khz", context.results.save_pauses("hold-1-khz", series))
    return [Figure("hold-1-khz", taken, asked, "epochs", "asked", NONE_SKIPPED, True, note=f"{max(asked - taken, 0)} skipped in {elapsed_ns / 1e9:.1f} s, "
                   f"{median([epoch['dirty_pages'] for epoch in epochs])} dirty pages; of the last {len(epochs)} epochs the longest {max(series['between two epochs']) / 1000:.1f} ms after another")]


def of_case(name):
    return lambda context: pause(context, name, CASES[name])


def first_epoch(context):
    """perdure attach to a process of 1 GB, as its witness saw it; the floor begins tracking, scans and copies the same."""
    options = LoadOptions(resident_mb=1024)
    epochs, gaps, floor = [], [], []
    for _ in range(context.rounds):
        report, epoch = first_attached_epoch(context, options)
        epochs.append(epoch)
        gaps.append(max(report["gaps_us"]))
        floor += loads.under_floor(context, options, 0.2, first=True)[1]
    own_us, floor_us = [epoch["pause_us"] for epoch in epochs], [sample.pause_us for sample in floor]
    context.say("first-epoch-1-gb", context.results.save_pauses("first-epoch-1-gb", {"witness under perdure": gaps, "perdure": own_us, "floor": floor_us}))
    return [Figure("first-epoch-1-gb", median(gaps), median(floor_us), goal=FLOOR_GOAL,
                   note=f"the witness's longest gap; by its own word {median(own_us) / 1000:.0f} ms, {epochs[0]['dirty_pages']} dirty pages, the floor {floor[0].dirty_pages}")]


def first_attached_epoch(context, options):
    """The report of a load that is attached to while it is measured, and the first epoch."""
    with loads.flags_directory() as flags:
        # Not a pipe: Perdure holds what its group writes to, too, until the group is reaped, so that a pipe would not end.
        with open(flags / "report", "w") as out:
            load = subprocess.Popen(options.command(context, 12 if context.quick else 20, flags), stdin=subprocess.DEVNULL, stdout=out)
        try:
            loads.wait_until((flags / "ready").exists, loads.READY_SECONDS, "load")
            (flags / "go").touch()
            with loads.AttachedGroup(load.pid, ["--period", "10ms", "--keep", "100000"]) as group:
                group.start()
                loads.durable_checkpoint(group)
                epoch = min(group.log(), key=lambda epoch: epoch["epoch"])
                load.wait(loads.READY_SECONDS)
                report = loads.last_json((flags / "report").read_text())
        finally:
            harness.kill_descendants(load.pid)
            load.kill()
            load.wait()
    if not report["begin_ns"] <= epoch["time_ns"] <= report["end_ns"]:
        raise harness.Failure("attach", f"the first epoch was taken {(epoch['time_ns'] - report['begin_ns']) / 1e9:.1f} s after the measuring began, which lasted {(report['end_ns'] - report['begin_ns']) / 1e9:.1f} s")
    return report, epoch


def longest_after(forks_ns, pauses):
    """For each fork the longest pause until the next; `pauses` are pairs (time_ns, us)."""
    ends = [*forks_ns[1:], float("inf")]
    groups = [[us for time_ns, us in pauses if begin <= time_ns < end] for begin, end in zip(forks_ns, ends)]
    return [max(group) for group in groups if group]


def fork_epoch(context):
    """The longest pause after each fork of a 500 MB process whose child sleeps."""
    options = LoadOptions(resident_mb=500, fork_every_ms=1000)
    seconds = 3 if context.quick else 20
    report, epochs = loads.under_perdure(context, options, seconds)
    ours = longest_after(report["forks_ns"], [(epoch["time_ns"], epoch["pause_us"]) for epoch in epochs])
    report, samples = loads.under_floor(context, options, seconds)
    floor = longest_after(report["forks_ns"], [(sample.time_ns, sample.pause_us) for sample in samples])
    context.say("fork-500-mb", context.results.save_pauses("fork-500-mb", {"perdure": ours, "floor": floor}))
    return [Figure("fork-500-mb", median(ours), median(floor), goal=FLOOR_GOAL, note="the longest pause after each fork; the child sleeps")]


def growth(context, name, small, large, goal, small_name):
    """The pause of one load against that of another, in turns."""
    series = {name: [], small_name: []}
    for _ in range(context.rounds):
        for which, options in ((small_name, small), (name, large)):
            series[which] += [epoch["pause_us"] for epoch in loads.under_perdure(context, options)[1]]
    context.say(name, context.results.save_pauses(name, series))
    return [Figure(name, median(series[name]), median(series[small_name]), reference_name=small_name, goal=goal)]


BENCHMARKS = {
    **{name: of_case(name) for name in CASES},
    "hold-1-khz": hold,
    "first-epoch-1-gb": first_epoch,
    "fork-500-mb": fork_epoch,
    "growth-dirty-4-mib": lambda context: growth(context, "growth-dirty-4-mib", LoadOptions(dirty_pages=100), LoadOptions(dirty_pages=1024), SMALL_EPOCH_GOAL, "100 pages"),
    "growth-resident-4-gb": lambda context: growth(context, "growth-resident-4-gb", LoadOptions(), LoadOptions(resident_mb=4096), GROWTH_GOAL, "64 MB"),
    "growth-1000-idle-threads": lambda context: growth(context, "growth-1000-idle-threads", LoadOptions(idle_threads=10), LoadOptions(idle_threads=1000), GROWTH_GOAL, "10"),
    "growth-1000-files": lambda context: growth(context, "growth-1000-files", LoadOptions(descriptors=10), LoadOptions(descriptors=1000), GROWTH_GOAL, "10"),
}
