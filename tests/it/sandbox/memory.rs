//! Memory: made at once, grown bit by bit, hidden in odd places.

use super::{all_harmless, all_refused};

const LITTLE: &[&str] = &["--max-memory", "200MiB"];

#[test]
fn what_would_be_too_large_is_refused_before_it_is_made() {
    const NO: &str = "does not fit in memory";
    all_refused(
        LITTLE,
        &[
            ("zeros([1048576, 1048576])", NO),
            ("zeros([100000000])", NO),
            ("ones([4294967296, 4294967296, 4294967296])", NO),
            ("full([100000000], 1.5)", NO),
            ("rand([100000000])", NO),
            ("randn([100000000])", NO),
            ("arange(0, 100000000)", NO),
            ("linspace(0, 1, 100000000)", NO),
            ("eye(100000)", NO),
            ("zeros([1]).expand([100000000])", NO),
            ("let x = zeros([1]).expand([40000000]); let y = x + 1; x.exp()", NO),
            ("zeros([10]).repeat(10000000)", NO),
            ("zeros([10]).repeat_interleave(10000000)", NO),
            ("let x = zeros([20000]); outer(x, x)", NO),
            ("let x = zeros([20000]); x.unsqueeze(0) + x.unsqueeze(1)", NO),
            ("let x = zeros([200, 200]); einsum(\"ab,cd->abcd\", x, x)", NO),
            ("matmul(zeros([20000, 1]), zeros([1, 20000]))", NO),
            ("one_hot(zeros([1000], #{dtype: \"i64\"}), 1000000)", NO),
            ("fft(zeros([10]), #{n: 100000000})", NO),
            ("fftfreq(100000000)", NO),
            ("zeros([10]).histogram(100000000)", NO),
            ("zeros([0, 1099511627776])", NO),
            ("zeros([0, 4611686018427387904, 8])", NO),
            ("let x = zeros([30000000]); x.to(\"f32\").copy()", NO),
            ("let x = zeros([30000000]); x.sort()", NO),
        ],
    );
}

#[test]
fn what_grows_bit_by_bit_ends_where_it_is_too_much() {
    const NO: &str = "the run needs more than 50.0 MiB of memory";
    all_refused(
        &["--max-memory", "50MiB"],
        &[
            ("let a = []; loop { a.push(zeros([100000])); }", "a"),
            ("let a = #{}; let i = 0; loop { i += 1; a[`k${i}`] = zeros([100000]); }", "a"),
            ("let c = context(); let i = 0; loop { i += 1; c[`k${i}`] = zeros([100000]); }", "a"),
            ("let a = [[]]; loop { a[0].push(#{x: [zeros([100000])]}); }", "a"),
            ("let f = || 0; loop { let t = zeros([100000]); let g = f; f = || [t, g]; }", "a"),
            ("let a = []; loop { a.push(1); }", NO),
            ("let a = []; loop { a += [1, 2, 3]; }", NO),
            ("let a = [1]; loop { a += a; }", NO),
            ("let a = [1]; loop { a = [a, a]; }", NO),
            ("let s = \"x\"; loop { s += s; }", NO),
            ("let s = \"x\"; loop { s = `${s}${s}`; }", NO),
            ("let a = #{}; let i = 0; loop { i += 1; a[`k${i}`] = i; }", NO),
            ("let f = |x| x; loop { f = f.curry(f); }", NO),
            ("let a = []; a.pad(1000000000000, 0)", NO),
            ("let a = []; a.pad(1000000, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])", NO),
            ("let s = \"\"; s.pad(1000000000000, 'x')", NO),
            ("let s = \"\"; s.pad(1000000000000, \"日本\")", NO),
            ("blob(1000000000000)", NO),
            ("let b = blob(1); b.pad(1000000000000, 0)", NO),
            ("let s = \"x\"; for i in 0..16 { s += s; } s.replace(\"x\", s)", NO),
            ("let s = \"x\"; for i in 0..16 { s += s; } s.replace('x', s)", NO),
            ("let s = \"x\"; for i in 0..24 { s += s; } s.to_chars()", NO),
            ("zeros([10000000], #{dtype: \"u8\"}).to_array()", NO),
            (
                "let m = model(\"demo:opt\"); let c = context([hook(\"post-mlp\", |x, ctx| {\n\
              if \"all\" !in ctx { ctx.all = []; } ctx.all.push(x); })]);\n\
              let ids = zeros([64, 30], #{dtype: \"i64\"}); loop { m.forward(ids, c); }",
                NO,
            ),
        ]
        .map(|(attack, sentence)| (attack, if sentence == "a" { "memory" } else { sentence })),
    );
}

#[test]
fn what_one_operation_needs_besides_its_result_counts() {
    all_refused(
        LITTLE,
        &[
            ("let x = zeros([40000000], #{dtype: \"u8\"}); x.to(\"f64\")", "memory"),
            ("let x = zeros([20000000], #{dtype: \"u8\"}); x.sort()", "memory"),
            ("let x = zeros([20000000]); save(\"x.json\", x)", "memory"),
            ("let x = zeros([20000000]); plot(#{y: x})", "memory"),
            ("let x = zeros([5000, 5000]); heatmap(x)", "memory"),
            (
                "let m = model(\"demo:opt\"); m.forward(zeros([20000, 30], #{dtype: \"i64\"}))",
                "memory",
            ),
        ],
    );
}

#[test]
fn what_was_let_go_is_free_again() {
    all_harmless(
        LITTLE,
        &[
            ("for i in 0..200 { let x = zeros([10000000]); x[0] = i; } 1", "1"),
            ("let x = zeros([10000000]); for i in 0..200 { x = x + 1; } x[0].item()", "200.0"),
            (
                "let x = zeros([10000000]); for i in 0..1000 { let v = x[1..]; let w = v.reshape([-1, 1]); } 1",
                "1",
            ),
            (
                "let a = []; for i in 0..1000 { a.push(zeros([1000])[0]); } let s = 0; for i in 0..40 { let t = \"\"; t.pad(10000000, 'x'); s += t.len; } s",
                "400000000",
            ),
            // A model is the user's choice, and not the script's memory.
            (
                "let m = model(\"demo:opt\"); let n = model(\"demo:gpt-neox\"); m.forward(m.encode(\"a\")).logits.rank",
                "3",
            ),
        ],
    );
    all_refused(&["--max-memory", "1KB"], &[("let a = zeros([1000]); 1", "memory")]);
}
