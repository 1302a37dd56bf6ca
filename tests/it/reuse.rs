//! Layers that are not run again: what is reused, what never is, and that results are the same to
//! the last bit.

use std::fmt::Write;

use precompute::recipe::header::Header;
use precompute::script::reuse::LastPass;
use precompute::script::value::Handle;
use precompute::script::{Host, Settings};
use precompute::tensor::Value;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rhai::{Array, Dynamic, Map};

use crate::binary::Workplace;
use crate::fixture::{CASES, directory};

fn host(reuse: Option<u64>) -> Host {
    let out = std::env::temp_dir().join("precompute-reuse");
    Host::new(Settings { reuse, seed: Some(1), out: Some(out), ..Settings::default() }).unwrap()
}

/// What became of the last pass of a script.
#[track_caller]
fn last(host: &Host, script: &str) -> LastPass {
    let _ = host.eval(script).unwrap_or_else(|failure| panic!("{script}\n{failure}"));
    host.session().reuse().report().last.unwrap()
}

/// Every number of a value, and every text, to the last bit.
fn bits(value: &Dynamic) -> String {
    if let Some(handle) = value.read_lock::<Handle>() {
        let value = handle.value();
        let mut text = format!("{} {:?}", value.dtype_name(), value.dims());
        for part in value.parts() {
            let numbers = part
                .to_dtype(candle_core::DType::F64)
                .unwrap()
                .flatten_all()
                .unwrap()
                .to_vec1::<f64>()
                .unwrap();
            numbers.iter().for_each(|x| write!(text, " {:x}", x.to_bits()).unwrap());
        }
        return text;
    }
    if let Some(map) = value.read_lock::<Map>() {
        return map.iter().map(|(key, item)| format!("{key}: {}\n", bits(item))).collect();
    }
    if let Some(array) = value.read_lock::<Array>() {
        return array.iter().map(|item| format!("{}, ", bits(item))).collect();
    }
    value.to_string()
}

/// A hook as a random edit leaves it.
#[derive(Clone)]
struct RandomHook {
    point: &'static str,
    layers: Option<Vec<usize>>,
    body: usize,
    by: f64,
}

const POINTS: &[&str] = &[
    "post-tok-embeddings",
    "post-pos-embeddings",
    "pre-block",
    "query-input",
    "value-input",
    "attn-norm-scale",
    "pre-attn",
    "query-states",
    "key-states",
    "value-states",
    "pre-mask-attn-weights",
    "post-mask-attn-weights",
    "attn-probs",
    "attn-weighted-values",
    "attn-head-outputs",
    "attn-residual",
    "post-attn",
    "mlp-input",
    "pre-mlp",
    "post-fc1",
    "post-act",
    "mlp-residual",
    "post-mlp",
    "logits",
];

/// Bodies of hooks, with BY for a number. Those from the second half on may not be left out.
const BODIES: &[&str] = &[
    "x * BY",
    "{ x *= BY; }",
    "{ x[0] = x[0] * BY; }",
    "{ ctx[`${ctx.point} ${ctx.get(\"layer\", -1)}`] = x; }",
    "{ ctx.kept = x; ctx.list = ctx.get(\"list\", []) + [BY]; x }",
    "scale(x, BY)",
    "twice(|y| y * BY, x)",
    "x + tensor(weights).sum() * BY",
    "if \"kept\" in ctx && ctx.kept.shape == x.shape { x + ctx.kept * 0.1 } else { x * BY }",
    "{ if !(\"log\" in ctx) { ctx.log = zeros([64]); } ctx.log[ctx.get(\"layer\", 63)] = x.mean() * BY; }",
    "{ ctx.held[1..3] = x.mean() * BY; }",
    "{ ctx.held += BY; ctx.other = ctx.held; ctx.other[0] = BY; }",
    "{ ctx.remove(\"kept\"); x * vector.sum() }",
    "{ ctx.deep = #{a: [x * BY], b: ctx.get(\"deep\", 0) == 0}; }",
    "x * BY + vector[0]",
    // These may not.
    "{ n += 1; x * (1.0 + BY * 0.01 * n) }",
    "{ vector[0] = BY; x + vector[0] }",
    "x + randn_like(x) * 0.01 * BY",
    "{ m.forward(ids, #{logits: \"none\"}); x * BY }",
    "{ ctx.shown = `${ctx}`; x * BY }",
];

impl RandomHook {
    fn new(random: &mut StdRng, layers: usize) -> Self {
        let point = *POINTS.choose(random).unwrap();
        let count = random.random_range(1..=layers);
        let some = (0..count).map(|_| random.random_range(0..layers)).collect();
        // Most can be left out, so that there is something to reuse.
        let body = if random.random_bool(0.85) {
            random.random_range(0..15)
        } else {
            random.random_range(15..BODIES.len())
        };
        Self {
            point,
            layers: random.random_bool(0.7).then_some(some),
            body,
            by: f64::from(random.random_range(1..9)) / 4.0,
        }
    }

    fn in_block(&self) -> bool {
        !["post-tok-embeddings", "post-pos-embeddings", "logits"].contains(&self.point)
    }

    fn text(&self) -> String {
        let body = BODIES[self.body].replace("BY", &format!("{:?}", self.by));
        match self.layers.as_ref().filter(|_| self.in_block()) {
            Some(layers) => {
                format!("hook(\"{}\", |x, ctx| {body}, #{{layers: {layers:?}}})", self.point)
            }
            None => format!("hook(\"{}\", |x, ctx| {body})", self.point),
        }
    }
}

fn script(model: &str, hooks: &[RandomHook], pass: &str, helper: f64, lines: usize) -> String {
    let hooks = hooks.iter().map(RandomHook::text).collect::<Vec<_>>().join(",\n");
    format!(
        "{}fn scale(x, by) {{ half(x) * by }}\n\
         fn half(x) {{ x * {helper:?} }}\n\
         fn twice(f, x) {{ f.call(f.call(x)) }}\n\
         seed(3);\n\
         let m = model({model:?});\n\
         let ids = tensor([[5, 1, 7, 3, 2]]);\n\
         let n = 0;\n\
         let weights = [1.0, 0.5];\n\
         let vector = tensor([1.0, 0.25]);\n\
         let held = zeros(8);\n\
         let hooks = [{hooks}];\n\
         let ctx = context(hooks);\n\
         ctx.held = held;\n\
         {pass}\n\
         let all = #{{out: out, held: held, n: n, vector: vector}};\n\
         for key in ctx.keys() {{ all[`key ${{key}}`] = ctx[key]; }}\n\
         all",
        "\n".repeat(lines)
    )
}

#[test]
fn random_edits_give_the_same_to_the_last_bit() {
    let mut reused = 0;
    let models = CASES.iter().map(|case| directory(case).display().to_string());
    for (at, model) in models.chain(["demo:opt".into(), "demo:gpt-neox".into()]).enumerate() {
        let mut random = StdRng::seed_from_u64(at as u64);
        let (with, without) = (host(None), host(Some(0)));
        let count = format!("model({model:?}).config.num_hidden_layers");
        let layers = with.eval(&count).unwrap().as_int().unwrap() as usize;
        let mut hooks: Vec<RandomHook> =
            (0..3).map(|_| RandomHook::new(&mut random, layers)).collect();
        let mut helper = 0.5;
        for edit in 0..24 {
            match random.random_range(0..8) {
                0 if hooks.len() < 5 => hooks.push(RandomHook::new(&mut random, layers)),
                1 if hooks.len() > 1 => drop(hooks.remove(random.random_range(0..hooks.len()))),
                2 => helper = f64::from(random.random_range(1..4)) / 2.0,
                3 | 4 => {
                    let at = random.random_range(0..hooks.len());
                    hooks[at].by = f64::from(random.random_range(1..9)) / 4.0;
                }
                5 => {
                    let at = random.random_range(0..hooks.len());
                    hooks[at] = RandomHook::new(&mut random, layers);
                }
                6 => {
                    let at = random.random_range(0..hooks.len());
                    hooks[at].layers = Some(vec![layers - 1]);
                }
                _ => {}
            }
            let stop = random.random_range(0..layers);
            let no_logits = !hooks.iter().any(|hook| hook.point == "logits");
            let pass = match random.random_range(0..6) {
                0 => "let out = m.capture(ids, [\"post-attn\", \"attn-probs\"], ctx, #{logits: \"all\"});".to_owned(),
                1 => "let out = m.capture(ids, \"post-mlp\", ctx, #{logits: \"all\"});".into(),
                2 if no_logits && !hooks.iter().any(RandomHook::in_block) => {
                    format!("let out = m.forward(ids, ctx, #{{stop: \"post-mlp@{stop}\"}}).stopped;")
                }
                3 => "let out = m.forward(ids, ctx, #{loss: true}).unreduced_loss;".into(),
                4 => "m.forward(ids, ctx); let out = m.forward(ids, ctx).logits;".into(),
                _ => "let out = m.forward(ids, ctx).logits;".into(),
            };
            let text = script(&model, &hooks, &pass, helper, random.random_range(0..4));
            let (a, b) = (with.eval(&text), without.eval(&text));
            match (a, b) {
                (Ok(a), Ok(b)) => {
                    assert!(bits(&a) == bits(&b), "edit {edit} of {model} differs:\n{text}")
                }
                (Err(a), Err(b)) => assert_eq!(a.to_string(), b.to_string(), "{text}"),
                (a, b) => panic!("{a:?}\n{b:?}\n{text}"),
            }
        }
        reused += with.session().reuse().report().reused;
        assert_eq!(without.session().reuse().report().reused, 0);
    }
    assert!(reused > 100, "{reused} layers were reused in all: too few to prove anything");
}

/// A pass of demo:opt, which has six layers, with these hooks.
fn pass(before: &str, hooks: &str) -> String {
    format!(
        "let m = model(\"demo:opt\"); let ids = m.encode(\"Mary and John\"); {before} \
         m.forward(ids, context([{hooks}])).logits"
    )
}

fn layers() -> usize {
    host(None).eval("model(\"demo:opt\").config.num_hidden_layers").unwrap().as_int().unwrap()
        as usize
}

#[test]
fn layers_before_the_edit_are_not_run_again() {
    let (host, n) = (host(None), layers());
    let hooks = |first: f64, last: f64| {
        pass(
            "",
            &format!(
                "hook(\"post-mlp\", |x, ctx| x * {first:?}, #{{layers: 0}}), hook(\"post-mlp\", |x, ctx| x * {last:?}, #{{layers: -1}})"
            ),
        )
    };
    assert_eq!(last(&host, &hooks(0.5, 0.5)), LastPass { layers: n, from: 0, limit: None });
    assert_eq!(last(&host, &hooks(0.5, 0.75)).from, n - 1);
    assert_eq!(last(&host, &hooks(0.25, 0.75)).from, 0);
    assert_eq!(last(&host, &hooks(0.5, 0.75)).from, n, "what was run once is known still");
    assert_eq!(last(&host, &pass("", "")).from, 0);
    let at = |layer: usize| {
        pass("", &format!("hook(\"attn-residual\", |x, ctx| x * 0.0, #{{layers: {layer}}})"))
    };
    assert_eq!(
        (0..n).map(|layer| last(&host, &at(layer)).from).collect::<Vec<_>>(),
        (0..n).collect::<Vec<_>>()
    );
}

#[test]
fn other_tokens_or_another_model_are_another_pass() {
    let host = host(None);
    let of = |model: &str, text: &str| {
        format!("let m = model({model:?}); m.forward(m.encode({text:?})).logits")
    };
    assert_eq!(last(&host, &of("demo:opt", "Mary")).from, 0);
    assert_eq!(last(&host, &of("demo:opt", "John")).from, 0);
    assert_eq!(last(&host, &of("demo:gpt-neox", "Mary")).from, 0);
    assert!(last(&host, &of("demo:opt", "Mary")).from > 0);
}

#[test]
fn a_hook_is_its_code_what_it_calls_and_what_it_captured() {
    let n = layers();
    let hooked = |before: &str, body: &str| {
        pass(before, &format!("hook(\"post-mlp\", |x, ctx| {body}, #{{layers: 1}})"))
    };
    for (one, other, same) in [
        // Where it stands, and what is said about it, is no part of it.
        (hooked("", "x * 2.0"), format!("// A word.\n\n{}", hooked("", "x  *  2.0")), true),
        (hooked("", "x * 2.0"), hooked("", "x * 2.5"), false),
        (hooked("", "x * 2"), hooked("", "x * 2.0"), false),
        (hooked("", "{ let y = x; y }"), hooked("", "{ let z = x; z }"), false),
        (hooked("let s = 2.0;", "x * s"), hooked("let s = 2.0;", "x * s"), true),
        (hooked("let s = 2.0;", "x * s"), hooked("let s = 2.5;", "x * s"), false),
        (
            hooked("let s = [1, [2.0]];", "x * s[0]"),
            hooked("let s = [1, [2.5]];", "x * s[0]"),
            false,
        ),
        (hooked("let s = ones(3);", "x * s[0]"), hooked("let s = ones(3);", "x * s[0]"), true),
        (
            hooked("let s = ones(3);", "x * s[0]"),
            hooked("let s = ones(3); s[2] = 2;", "x * s[0]"),
            false,
        ),
        (
            hooked("let f = |x| x * 2.0;", "f.call(x)"),
            hooked("let f = |x| x * 2.0;", "f.call(x)"),
            true,
        ),
        (
            hooked("let f = |x| x * 2.0;", "f.call(x)"),
            hooked("let f = |x| x * 3.0;", "f.call(x)"),
            false,
        ),
        (
            format!("fn a(x) {{ b(x) }} fn b(x) {{ x * 2.0 }} {}", hooked("", "a(x)")),
            format!("fn b(x) {{ x * 2.0 }}\nfn a(x) {{ b(x) }} {}", hooked("", "a(x)")),
            true,
        ),
        (
            format!("fn a(x) {{ b(x) }} fn b(x) {{ x * 2.0 }} {}", hooked("", "a(x)")),
            format!("fn a(x) {{ b(x) }} fn b(x) {{ x * 3.0 }} {}", hooked("", "a(x)")),
            false,
        ),
        (
            format!("fn a(f, x) {{ f.call(x) }} fn b(x) {{ x * 2.0 }} {}", hooked("", "a(b, x)")),
            format!("fn a(f, x) {{ f.call(x) }} fn b(x) {{ x * 3.0 }} {}", hooked("", "a(b, x)")),
            false,
        ),
        (
            format!("fn b(x) {{ x * 2.0 }} {}", hooked("", "Fn(\"b\").call(x)")),
            format!("fn b(x) {{ x * 3.0 }} {}", hooked("", "Fn(\"b\").call(x)")),
            false,
        ),
        (
            hooked("", "{ let s = [1, 2].map(|v| v * 2); x * s[0] }"),
            hooked("", "{ let s = [1, 2].map(|v| v * 3); x * s[0] }"),
            false,
        ),
        (
            hooked("", "switch ctx.layer { 1 => x * 2.0, _ => x }"),
            hooked("", "switch ctx.layer { 2 => x * 2.0, _ => x }"),
            false,
        ),
    ] {
        let host = host(None);
        assert_eq!(last(&host, &one).from, 0, "{one}");
        let from = last(&host, &other).from;
        assert_eq!(from, if same { n } else { 1 }, "{one}\n{other}");
    }
}

#[test]
fn an_imported_function_counts_too() {
    let hooked = "import \"lib\" as lib; let m = model(\"demo:opt\"); \
                  m.forward(m.encode(\"Mary\"), context([hook(\"post-mlp\", |x, ctx| lib::f(x), #{layers: 1})]));";
    let here =
        Workplace::new(&[("s.rhai", hooked), ("lib.rhai", "fn f(x) { g(x) } fn g(x) { x * 2.0 }")]);
    let (host, n, file) = (host(None), layers(), here.path().join("s.rhai"));
    let from = || {
        let _ = host.run_file(&file).unwrap();
        host.session().reuse().report().last.unwrap().from
    };
    assert_eq!(from(), 0);
    assert_eq!(from(), n);
    here.write("lib.rhai", b"fn f(x) { g(x) } fn g(x) { x * 3.0 }");
    assert_eq!(from(), 1);
    here.write("lib.rhai", b"fn f(x) { g(x) } fn g(x) { print(1); x * 3.0 }");
    assert_eq!(from(), 1);
    assert_eq!(from(), 1, "what prints is never left out");
}

#[test]
fn a_hook_that_does_more_than_give_a_value_is_never_left_out() {
    let hooked = |before: &str, body: &str| {
        pass(
            &format!("let n = 0; let log = zeros(4); let list = []; {before}"),
            &format!("hook(\"post-mlp\", |x, ctx| {body}, #{{layers: 2}})"),
        )
    };
    for (before, body, why) in [
        ("", "{ print(\"seen\"); x }", "calls print, which prints (input:1:"),
        ("", "{ debug(1); x }", "calls debug, which prints (input:1:"),
        ("", "x + randn_like(x)", "calls randn_like, which draws random numbers"),
        ("", "{ seed(1); x }", "calls seed, which seeds the random numbers"),
        ("", "{ ctx.t = timestamp().elapsed; x }", "calls timestamp, which reads the clock"),
        ("", "{ save(\"x\", 1); x }", "calls save, which writes a file"),
        ("", "{ table([[1]]); x }", "calls table, which prints"),
        ("", "{ m.forward(ids, #{logits: \"none\"}); x }", "calls forward, which runs a pass"),
        ("", "{ m.capture(ids, \"post-mlp@0\"); x }", "calls capture, which runs a pass"),
        ("", "{ param(\"p\", 1); x }", "calls param, which reads a parameter of the script"),
        ("", "{ let f = Fn(\"he\" + \"re\"); x }", "a name that is worked out"),
        ("let f = |y| { print(y.shape); y };", "f.call(x)", "captures a function that calls print"),
        (
            "let f = Fn(\"seed\");",
            "{ f.call(1); x }",
            "captures a function that calls seed, which seeds the random",
        ),
        (
            "let t = timestamp();",
            "{ let u = t; x }",
            "captures a timestamp, which can't be compared",
        ),
        (
            "let t = 1; t.tag = 3;",
            "{ let u = t.tag; x }",
            "uses .tag, which uses the tag of a value",
        ),
    ] {
        let (host, script) = (host(None), hooked(before, body));
        last(&host, &script);
        let again = last(&host, &script);
        assert_eq!(again.from, 2, "{body}");
        let (layer, said) = again.limit.unwrap();
        let subject = "the hook at post-mlp (input:1:";
        assert!(layer == 2 && said.contains(why) && said.starts_with(subject), "{body}: {said}");
    }
    // What can't be seen in the code is seen as it runs.
    for body in [
        "{ n += 1; x }",
        "{ log[0] = 1.0; x }",
        "{ let alias = log; alias[0] += 1.0; x }",
        "{ list.push(1); x }",
        "{ ctx.mine = log; x }",
        "{ ctx.ids[0] = 3; x }",
        "{ ctx.n = `${ctx}`; x }",
    ] {
        let (host, script) = (host(None), hooked("", body));
        last(&host, &script);
        assert_eq!(last(&host, &script).from, 2, "{body}");
    }
}

#[test]
fn a_log_is_filled_as_if_every_layer_had_run() {
    let log = |by: f64| {
        format!(
            "let m = model(\"demo:opt\"); let ids = m.encode(\"Mary and John\");
             fn log(x, ctx) {{
                 if \"log\" !in ctx {{ ctx.log = zeros([ctx.config.num_hidden_layers] + x.shape); }}
                 ctx.log[ctx.layer] = x;
             }}
             let ctx = context([hook(\"post-mlp\", log), hook(\"attn-residual\", |x, ctx| x * {by:?}, #{{layers: -1}})]);
             m.forward(ids, ctx);
             ctx.log"
        )
    };
    let (with, without) = (host(None), host(Some(0)));
    for by in [1.0, 0.5, 0.25] {
        assert_eq!(bits(&with.eval(&log(by)).unwrap()), bits(&without.eval(&log(by)).unwrap()));
    }
    assert_eq!(with.session().reuse().report().last.unwrap().from, layers() - 1);
    // Each layer is held once, and the log once: not a log for each layer.
    let Some(log) = without.eval(&log(1.0)).unwrap().try_cast::<Handle>() else {
        panic!("no tensor")
    };
    let bytes = match &*log.value() {
        Value::Real(t) => t.elem_count() as u64 * 4,
        _ => panic!("no real tensor"),
    };
    assert!(
        with.session().reuse().bytes() < 10 * bytes,
        "{} for a log of {bytes}",
        with.session().reuse().bytes()
    );
}

#[test]
fn no_more_is_held_than_was_allowed() {
    let host = host(Some(200_000));
    for by in 0..12 {
        last(
            &host,
            &pass(
                "",
                &format!("hook(\"post-mlp\", |x, ctx| {{ ctx[`${{ctx.layer}}`] = x * {by}; }})"),
            ),
        );
        assert!(host.session().reuse().bytes() <= 200_000);
    }
    assert!(host.session().reuse().bytes() > 0);
}

#[test]
fn a_pass_that_fails_later_is_taken_up_where_it_failed() {
    let (host, n) = (host(None), layers());
    let with =
        |body: &str| pass("", &format!("hook(\"post-mlp\", |x, ctx| {body}, #{{layers: -1}})"));
    assert!(host.eval(&with("throw \"no\"")).is_err());
    assert_eq!(last(&host, &with("x * 2.0")).from, n - 1);
}

#[test]
fn fresh_and_the_memory_are_said_on_the_command_line() {
    let twice = "let m = model(\"demo:opt\"); let ids = m.encode(\"Mary\"); m.forward(ids); m.forward(ids).logits.sum()";
    let here = Workplace::new(&[("s.rhai", twice)]);
    let plain = here.run(&["run", "s.rhai"]);
    for arguments in
        [&["--fresh"] as &[&str], &["--reuse-memory", "1B"], &["--reuse-memory", "1.5GB"]]
    {
        let ran = here.run(&[&["run", "s.rhai"], arguments].concat());
        assert_eq!((ran.code, &ran.stdout), (Some(0), &plain.stdout), "{}", ran.stderr);
    }
    let wrong = here.run(&["run", "s.rhai", "--reuse-memory", "much"]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("a size is given as 500MB, 2GiB"), "{}", wrong.stderr);
    assert_eq!(here.run(&["run", "s.rhai", "--fresh", "--reuse-memory", "1GB"]).code, Some(2));
}

#[test]
fn what_only_computes_can_be_left_out() {
    let n = layers();
    for (before, body) in [
        ("", "{ x[[.., 1]] = 0.0; }"),
        ("", "{ x[1..] = 0.0; }"),
        ("", "{ x[..=1] *= 2.0; }"),
        ("", "{ for i in 0..2 { x[[.., i]] = 0.0; } }"),
        ("", "{ for i in range(0, 4, 2) { x[[.., i % 2]] = 0.0; } }"),
        ("", "{ let n = 1; n <<= 2; n **= 2; n |= 1; x * n }"),
        ("", "{ let all = [3, 1, 2].map(|v| v * 2).filter(|v| v > 2); all.sort(); x * all[0] }"),
        ("let f = |v| v > 1;", "{ x * [1, 2].filter(f).len() }"),
        ("let axis = 1;", "{ let a = axis - 2; x * x.sort(a).values.sum(a).sum() }"),
        ("let where = 2;", "{ x * [1, 2].index_of(where) }"),
        ("let f = Fn(\"abs\");", "f.call(x)"),
        ("", "{ let words = \"a b\".split(); words += \"c\".to_upper(); x * words.len }"),
        ("", "{ let m = #{a: 1}; m += #{b: 2}; if \"b\" in m { x * m.b } else { x } }"),
        ("", "{ let b = blob(4, 1); x * b.len }"),
        ("", "{ x * (2.7).floor() * parse_int(\"3\") * PI() }"),
        ("", "{ let s = `${x.shape} ${1.5}`; x * s.len }"),
        ("", "{ let heads = ctx.config.num_attention_heads; x * heads }"),
        ("", "{ let real = fft(x, #{dim: 1}).real; real[0] = 1; real }"),
        ("", "{ let read = parse_json(\"{\\\"by\\\": 2}\"); x * read.by }"),
        ("", "{ m.unembed(m.final_norm(x)); x * m.heads(0).w_q.sum() }"),
    ] {
        let (host, script) =
            (host(None), pass(before, &format!("hook(\"post-mlp\", |x, ctx| {body})")));
        last(&host, &script);
        assert_eq!(
            last(&host, &script),
            LastPass { layers: n, from: n, limit: None },
            "{before} {body}"
        );
    }
}

#[test]
fn the_hooks_of_the_scripts_that_ship_can_be_left_out() {
    let scripts = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let mut hooked = 0;
    for entry in std::fs::read_dir(scripts).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "rhai") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        if !text.contains("hook(\"") {
            continue;
        }
        let header = Header::read("", &text).unwrap().unwrap();
        let out = tempfile::tempdir().unwrap();
        let settings = Settings {
            params: header.check_params(),
            seed: Some(1),
            silent: true,
            out: Some(out.path().join("run")),
            ..Settings::default()
        };
        let host = Host::new(settings).unwrap();
        let _ = host.run_file(&path).unwrap_or_else(|failure| panic!("{failure}"));
        let report = host.session().reuse().report();
        // A hook that trains what it captured is to run.
        let trains = "captures a tensor whose gradients are kept";
        let limit = report.limit.filter(|(_, why)| !why.ends_with(trains));
        assert_eq!(limit, None, "{}", path.display());
        hooked += usize::from(report.passes > 0);
    }
    assert!(hooked > 5, "{hooked} scripts have hooks");
}

/// Gradients begin at the first of their points: what is kept of the layers before it is not
/// computed again, and what has a graph is not kept.
#[test]
fn layers_before_the_first_gradient_are_not_run_again() {
    let host = host(None);
    let start = "let m = model(\"demo:opt\"); let ids = m.encode(\"Mary and John went to the store.\"); \
        let metric = |out| out.logits[[0, -1, 5]];";
    let pass = format!("{start} m.forward(ids);");
    let late =
        format!("{start} m.gradients(ids, \"post-mlp\", metric, #{{layers: [2, 3]}}).gradients");
    let early = format!("{start} m.gradients(ids, \"post-tok-embeddings\", metric).gradients");
    let bits_of = |script: &str| bits(&host.eval(script).unwrap());

    assert_eq!(last(&host, &pass).from, 0);
    assert_eq!(last(&host, &late).from, 2);
    assert_eq!(last(&host, &early).from, 0);
    assert_eq!(last(&host, &pass).from, last(&host, &pass).layers);
    assert_eq!(bits_of(&late), {
        let fresh = Host::new(Settings { reuse: Some(0), ..Settings::default() }).unwrap();
        bits(&fresh.eval(&late).unwrap())
    });

    // A variable that a hook captured takes part in every layer from its own on.
    let steered = format!(
        "{start} let v = variable(zeros([m.config.hidden_size])); \
         m.forward(ids, [hook(\"post-mlp\", |x, ctx| x + v, #{{layers: 1}})])"
    );
    for _ in 0..2 {
        assert_eq!(last(&host, &steered).from, 1);
    }
}
