//! The language itself turned against the program: what is off, recursion without end, values
//! nested without end, contradictions.

use super::{all_harmless, all_refused, refused, run};
use crate::binary::Workplace;

#[test]
fn there_is_no_way_to_the_system() {
    all_refused(
        &[],
        &[
            ("eval(\"1\")", "eval is off"),
            ("sleep(1000)", "a script can't sleep"),
            ("sleep(1e9)", "a script can't sleep"),
            ("env(\"HOME\")", "there is no function env"),
            ("getenv(\"HOME\")", "there is no function getenv"),
            ("exec(\"ls\")", "there is no function exec"),
            ("system(\"ls\")", "there is no function system"),
            ("open_file(\"/etc/passwd\")", "there is no function open_file"),
            ("http_get(\"http://localhost\")", "there is no function http_get"),
            ("let f = Fn(\"eval\"); f.call(\"1\")", "eval"),
            ("call(Fn(\"sleep\"), 1000)", "a script can't sleep"),
        ],
    );
}

#[test]
fn functions_that_call_themselves_end() {
    all_refused(
        &[],
        &[
            ("fn f() { f() } f()", "functions call each other more than 200 deep"),
            (
                "fn f(x) { g(x) } fn g(x) { f(x) } f(1)",
                "functions call each other more than 200 deep",
            ),
            (
                "let f = (); f = |g| g.call(g); f.call(f)",
                "functions call each other more than 200 deep",
            ),
            (
                "fn f() { try { f() } catch { f() } } f()",
                "functions call each other more than 200 deep",
            ),
            (
                "fn f(x) { [x].map(|y| f(y))[0] } f(1)",
                "functions call each other more than 200 deep",
            ),
            (
                "fn f(a) { a.sort(|x, y| { f([2, 1]); 0 }) } f([2, 1])",
                "functions call each other more than 200 deep",
            ),
            (
                "let m = model(\"demo:opt\"); let ids = m.encode(\"a\");\n\
                 fn again(m, ids) { m.forward(ids, context([hook(\"pre-block\", |x, ctx| again(m, ids))])) }\n\
                 again(m, ids)",
                "passes are nested 16 deep",
            ),
        ],
    );
}

#[test]
fn sources_nested_without_end_are_refused() {
    let n = 20_000;
    for attack in [
        format!("{}1{}", "(".repeat(n), ")".repeat(n)),
        format!("{}1{}", "[".repeat(n), "]".repeat(n)),
        format!("{}1{}", "#{a:".repeat(n), "}".repeat(n)),
        format!("{}1{}", "{".repeat(n), "}".repeat(n)),
        format!("{}1", "!".repeat(n)),
        format!("{}1", "- ".repeat(n)),
        format!("let a = []; a{}", "[0]".repeat(n)),
        format!("let a = 1; a{}", ".x".repeat(n)),
        format!("{}1", "1 + ".repeat(n)),
        format!("{}1", "1 ** ".repeat(n)),
        format!("if false {{ 1 }}{}", " else if false { 1 }".repeat(n)),
        format!("{}1{}", "`${".repeat(n), "}`".repeat(n)),
        format!("{}1", "|x| ".repeat(n)),
        format!("{}1{}", "switch 1 { _ => ".repeat(n), "}".repeat(n)),
        format!("{}1{}", "f(".repeat(n), ")".repeat(n)),
    ] {
        let ran = run(&Workplace::new(&[("s.rhai", &attack)]), &[]);
        assert!(ran.stderr.len() < 4000, "{}", ran.stderr.len());
        refused(&ran, "", &attack);
    }
}

#[test]
fn values_nested_without_end_are_refused() {
    all_refused(
        &["--max-memory", "2GiB"],
        &[
            // Each closure holds the one before: freeing the last frees all of them.
            (
                "let f = || 0; for i in 0..2_000_000 { let g = f; f = || g; }",
                "nests values too deeply",
            ),
            (
                "let c = context(); for i in 0..2_000_000 { let d = context(); d[\"x\"] = c; c = d; }",
                "nests values too deeply",
            ),
        ],
    );
    all_harmless(
        &[],
        &[
            (
                "let a = []; for i in 0..2000 { a = [a]; } let b = a; b == a; `${a}`.len > 2000",
                "true",
            ),
            ("let a = #{}; for i in 0..2000 { a = #{a: a}; } save(\"a\", a); 1", "1"),
            ("let c = context(); let d = context(); c.d = d; d.c = c; `${c} ${d}`.len > 1", "true"),
        ],
    );
}

#[test]
fn a_comparer_that_contradicts_itself_harms_nobody() {
    let mixed = "let a = []; for i in 0..500 { a.push(i * 7919 % 503); } let n = 0;";
    all_harmless(
        &[],
        &[
            (&format!("{mixed} a.sort(|x, y| {{ n += 1; n * 7919 % 3 - 1 }}); a.len()"), "500"),
            (&format!("{mixed} a.sort(|x, y| true); a.len()"), "500"),
            (&format!("{mixed} a.order_by(|x, y| 1).len()"), "500"),
            (
                "let a = []; for i in 0..100 { a.push(if i % 3 == 0 { 0.0 / 0.0 } else { -i * 1.0 }) } a.sort(); a[0]",
                "-98.0",
            ),
            (
                "let a = []; for i in 0..100 { a.push(if i % 3 == 0 { 0.0 / 0.0 } else { -i * 1.0 }) } a.sort_desc(); a.len()",
                "100",
            ),
            ("let a = [3, 1, 2]; a.sort(|x, y| x - y); a", "[1, 2, 3]"),
            ("let a = [3, 1, 2]; a.sort(|x, y| x > y); a", "[3, 2, 1]"),
            (
                "let a = [\"b\", \"a\"]; [a.order(), a.order_desc(), a]",
                "[[\"a\", \"b\"], [\"b\", \"a\"], [\"b\", \"a\"]]",
            ),
        ],
    );
    all_refused(
        &[],
        &[
            (
                "let a = [3, 1, 2]; a.sort(|x, y| { a = []; 1 }); 1",
                "is called on a value that the closure given to it captured",
            ),
            ("[3, 1, 2].sort(|x, y| throw \"boo\")", "boo"),
            ("[3, 1, 2].sort(|x, y| \"x\")", "the comparer must return an integer or a bool"),
            ("[3, \"a\"].sort()", "elements of different types can't be sorted"),
            ("[[1], [2]].sort()", "can't be sorted without a comparer"),
        ],
    );
}

#[test]
fn numbers_at_the_ends_of_their_range_are_no_panic() {
    let (min, max) = ("-9223372036854775808", "9223372036854775807");
    let calls = [
        "abs(MIN)",
        "MIN / -1",
        "MIN % -1",
        "MAX + 1",
        "MIN - 1",
        "MAX * 2",
        "2 ** MAX",
        "2 ** MIN",
        "1 << MAX",
        "1 >> MIN",
        "to_int(1e300)",
        "parse_int(\"1\", MAX)",
        "\"x\".sub_string(MIN, MAX)",
        "\"x\".crop(MAX, MAX)",
        "[1].splice(MIN, MAX, [2])",
        "[1].drain(MAX..MIN)",
        "[1].extract(MIN..=MAX)",
        "[1].insert(MIN, 1)",
        "[1][MIN]",
        "\"x\"[MIN]",
        "blob(8, 0).parse_le_int(MAX, MAX)",
        "blob(8, 0).write_be(MIN, MAX, 1)",
        "get_bits(1, MIN, MAX)",
        "set_bits(1, MAX, MAX, 1)",
        "range(MIN, MAX, MAX)",
        "\"x\".split(MIN)",
        "timestamp() + 1e300",
        "timestamp() - MIN",
        "seed(MIN)",
        "zeros([MIN])",
        "zeros([MAX, MAX])",
        "zeros([MAX, MAX, 0])",
        "zeros([0, MAX, MAX]).sum(0)",
        "zeros([0]).reshape([0, MAX, MAX])",
        "zeros([0]).reshape([MAX, MAX, 0])",
        "arange(MIN, MAX, MAX)",
        "arange(MAX, MIN, MIN)",
        "arange(0, MAX)",
        "arange(0.0, 1.0, 1e-300)",
        "linspace(0, 1, MAX)",
        "eye(MAX)",
        "zeros([3])[MIN]",
        "zeros([3])[MIN..MAX]",
        "zeros([3])[MAX..=MAX]",
        "zeros([3]).narrow(0, MAX, MAX)",
        "zeros([3]).narrow(0, MIN, MIN)",
        "zeros([3]).roll(MIN)",
        "zeros([3, 3]).tril(MIN)",
        "zeros([3, 3]).triu(MAX)",
        "zeros([3]).topk(MAX)",
        "zeros([3]).topk(MIN)",
        "zeros([3]).split(MAX)",
        "zeros([3]).chunk(MAX)",
        "zeros([3]).chunk(MIN)",
        "zeros([3]).repeat(MAX)",
        "zeros([3]).repeat(MIN)",
        "zeros([3]).repeat_interleave(MAX)",
        "zeros([3]).repeat_interleave([MAX, MAX, MAX])",
        "zeros([3]).expand([MAX, 3])",
        "zeros([3]).unsqueeze(MIN)",
        "zeros([3]).sum(MIN)",
        "zeros([3]).transpose(MIN, MAX)",
        "zeros([3]).histogram(MAX)",
        "zeros([3]).histogram(MIN)",
        "zeros([3]).histogram(3, #{min: 1e308, max: -1e308})",
        "one_hot(tensor([1]), MAX)",
        "one_hot(tensor([MAX]))",
        "one_hot(tensor([MIN]), 3)",
        "fft(zeros([3]), #{n: MAX})",
        "irfft(fft(zeros([3])), #{n: MIN})",
        "fftfreq(MAX)",
        "rfftfreq(MAX)",
        "rfftfreq(MIN)",
        "zeros([3]).gather(0, tensor([MIN]))",
        "zeros([3]).scatter(0, tensor([MAX]), 1)",
        "zeros([3]).quantile(1e300)",
        "zeros([3]).norm(#{p: 1e300})",
        "zeros([3]).var(#{correction: 1e300})",
        "pca(zeros([3, 3]), MAX)",
        "hook(\"post-mlp\", |x, c| x, #{layers: MIN..=MAX})",
        "hook(\"post-mlp\", |x, c| x, #{layers: MIN})",
        "progress(\"x\", MAX).tick(MAX)",
        "progress(\"x\", MIN)",
        "svd(full([3, 3], 0.0 / 0.0))",
        "eigh(full([3, 3], 1.0 / 0.0))",
        "tensor([MAX]).sum() + MAX",
        "(tensor([MIN]) / 0).item()",
        "tensor([MIN]) % 0",
        "tensor([MIN]) % -1",
        "tensor([2]) ** MAX",
        "tensor([2]) ** MIN",
        "tensor([MIN]).abs()",
        "tensor([MAX]).cumsum(0) * MAX",
        "tensor([MAX, MAX]).prod()",
        "tensor([MAX]).to(\"u8\")",
        "plot(#{y: [1e308, -1e308]})",
        "plot(#{y: [0.0 / 0.0, 1.0 / 0.0]})",
        "plot(#{y: [1.0, 0.0, -5.0], log: \"xy\"})",
        "plot(#{y: zeros([0])})",
        "heatmap(zeros([0, 3]))",
        "heatmap(full([2, 2], 1.0 / 0.0))",
        "table([])",
        "attention([], zeros([0, 0]))",
        "plot(#{x: [MIN, MAX], y: [MIN, MAX]})",
    ];
    // All in one run, as each is caught: a panic would end it.
    let lines = calls.map(|call| {
        format!("try {{ {call}; }} catch {{}}").replace("MIN", min).replace("MAX", max)
    });
    let attack = format!("{}\nprint(\"survived\");", lines.join("\n"));
    let ran = run(&Workplace::new(&[("s.rhai", &attack)]), &["--max-memory", "300MiB"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.ends_with("survived\n"), "{}", ran.stdout);
}

#[test]
fn a_limit_cannot_be_caught() {
    all_refused(
        &["--max-steps", "100000", "--max-output", "10KB"],
        &[
            (
                "loop { try { loop {} } catch { print(\"caught\") } }",
                "the script takes more than 100000 steps",
            ),
            (
                "try { loop { print(\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxx\") } } catch {} print(\"on\")",
                "prints and saves more than",
            ),
            (
                "let m = model(\"demo:opt\");\n\
                 m.forward(m.encode(\"a\"), context([hook(\"pre-block\", |x, ctx| { try { loop {} } catch {} })]))",
                "the script takes more than 100000 steps",
            ),
            (
                "[1, 2, 3].sort(|x, y| { let n = 0; loop { n += 1; } })",
                "the script takes more than 100000 steps",
            ),
            ("[1].map(|x| { while true {} })", "the script takes more than 100000 steps"),
        ],
    );
    let here = Workplace::new(&[("s.rhai", "import \"spin\" as s;"), ("spin.rhai", "loop {}")]);
    refused(
        &run(&here, &["--max-steps", "100000"]),
        "the script takes more than 100000 steps",
        "spin",
    );
}
