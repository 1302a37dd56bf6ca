#!/usr/bin/env python3
"""How much slower work gets on cores that are not its alone: benches/shared_cores.py [CHECKPOINT]

Times an operation, a hooked pass, a decoded token and, given a checkpoint such as benches/checkpoint.py writes, its passes of 32 and
512 tokens, with target/release/precompute (PRECOMPUTE names another binary): alone, on one core of those there are and with one
thread, in two and in four processes at once, and beside a process that never sleeps. Each line is a fraction of the time alone.
Needs Python 3.9 and Linux.
"""
import concurrent.futures, json, os, pathlib, statistics, subprocess, sys, tempfile

root = pathlib.Path(__file__).resolve().parent.parent
binary = os.environ.get("PRECOMPUTE", root / "target/release/precompute")
checkpoint = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else ""

SCRIPT = """
let times = #{};
fn time(seconds, f) {
    f.call();
    let runs = 0;
    let start = timestamp();
    while start.elapsed < seconds {
        f.call();
        runs += 1;
    }
    start.elapsed * 1000 / runs
}
let x = randn([128, 512]);
times["128 x 512 times a number"] = time(1.0, || { for i in 0..100 { x * 0.9; } }) / 100;
let small = randn([4, 4]);
times["4 x 4 times 4 x 4"] = time(1.0, || { for i in 0..100 { small.matmul(small); } }) / 100;
let square = randn([32, 32]);
times["qr of 32 x 32"] = time(1.0, || { qr(square); });
let demo = model("demo:opt");
let ids = demo.encode("Mary and John went to the store, and Mary gave a drink to");
let hooks = [hook("post-mlp", |x, ctx| x * 1.0)];
times["hooked pass of demo:opt"] = time(1.0, || { demo.forward(ids, hooks); });
times["decoded token of demo:opt"] = time(1.0, || { demo.generate(ids, #{max_new_tokens: 64}); }) / 64;
let checkpoint = param("checkpoint", "");
if checkpoint != "" {
    let m = model(checkpoint);
    for n in [32, 512] {
        let ids = ((arange(n) * 37 + 5) % m.config.vocab_size).unsqueeze(0);
        times[`pass of ${n} tokens`] = time(4.0, || { m.forward(ids); });
    }
}
save("times", times);
"""


def times(script, out, prefix=(), **environment):
    command = [*prefix, binary, "run", "--fresh", script, "--out", out, "--set", f"checkpoint={checkpoint}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **environment})
    return json.loads((out / "times.json").read_text())


def main():
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        script = scratch / "times.rhai"
        script.write_text(SCRIPT)

        def at_once(name, count, **how):
            """The medians of so many processes at once."""
            with concurrent.futures.ThreadPoolExecutor(count) as processes:
                started = [processes.submit(times, script, scratch / f"{name}-{i}", **how) for i in range(count)]
                all = [each.result() for each in started]
            return {what: statistics.median(each[what] for each in all) for what in all[0]}

        alone = at_once("alone", 1)
        one_thread = at_once("one-thread", 1, RAYON_NUM_THREADS="1")
        one_core = at_once("one-core", 1, prefix=["taskset", "-c", "0"])
        columns = {"two at once": at_once("two", 2), "four at once": at_once("four", 4)}
        busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        columns["beside a busy process"] = at_once("beside", 1)
        busy.kill()
        again = at_once("again", 1)
    print(f"{len(os.sched_getaffinity(0))} cores\n")
    print("| | alone, ms | one thread | one core, of one thread's time | " + " | ".join(columns) + " | alone again |")
    print("|---|---|---|---|" + "---|" * (len(columns) + 1))
    for what, base in alone.items():
        more = [columns[name][what] / base for name in columns] + [again[what] / base]
        print(f"| {what} | {base:.4g} | {one_thread[what] / base:.2f} | {one_core[what] / one_thread[what]:.2f} | " + " | ".join(f"{x:.2f}" for x in more) + " |")


main()
