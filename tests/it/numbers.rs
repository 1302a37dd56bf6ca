//! Plain numbers do what tensors without dims do, and arrays of numbers what tensors of one dim do.

use crate::run::script;
use crate::snippet::{all_fail, all_show, error, shown};

/// Negative, halves, whole, zeros, tiny, infinite, no number.
const FLOATS: [&str; 15] = [
    "-inf", "-3.0", "-2.5", "-1.5", "-0.5", "-1e-20", "-0.0", "0.0", "1e-20", "0.3", "0.5", "1.0",
    "2.5", "inf", "nan",
];
const INTEGERS: [&str; 6] = ["-7", "-2", "0", "1", "3", "8"];

/// A script that walks through pairs `(of a number, of a tensor)` and gives those that differ.
fn differing(pairs: &[(String, String)]) -> String {
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(number, tensor)| {
            let text = number.replace('"', "'");
            format!("[\"{text}\", {number}, {tensor}.to_array()]")
        })
        .collect();
    shown(&format!(
        "let differ = []; for pair in [{}] {{
             let same = pair[1] == pair[2] || (pair[1] != pair[1] && pair[2] != pair[2]);
             if !same || type_of(pair[1]) != type_of(pair[2]) {{ differ.push(`${{pair[0]}}: ${{pair[1]}} and ${{pair[2]}}`); }}
         }} differ",
        pairs.join(", ")
    ))
}

fn tensor(number: &str, float: bool) -> String {
    let dtype = if float { "f64" } else { "i64" };
    format!("tensor({number}, #{{dtype: \"{dtype}\"}})")
}

#[test]
fn what_differs_is_seen() {
    let pairs = [
        ("1.0".into(), "tensor(2.0)".into()),
        ("nan".into(), "tensor(nan)".into()),
        ("1".into(), "tensor(1.0)".into()),
    ];
    assert_eq!(differing(&pairs), "[\"1.0: 1.0 and 2.0\", \"1: 1 and 1.0\"]");
}

#[test]
fn functions_of_a_number_are_those_of_a_tensor() {
    let names = "abs exp expm1 log log2 log10 log1p sqrt rsqrt sin cos tanh sigmoid relu gelu silu erf round floor ceil sign isnan \
        isinf isfinite";
    for name in names.split_whitespace() {
        let pairs: Vec<_> = FLOATS
            .map(|x| (format!("({x}).{name}()"), format!("{}.{name}()", tensor(x, true))))
            .into();
        assert_eq!(differing(&pairs), "[]", "{name} of floats");
        // Of integers a function with fractions gives float32: compared with the float's.
        let whole = ["abs", "relu", "round", "floor", "ceil", "sign", "isnan", "isinf", "isfinite"]
            .contains(&name);
        let pairs: Vec<_> = INTEGERS
            .map(|x| (format!("({x}).{name}()"), format!("{}.{name}()", tensor(x, !whole))))
            .into();
        assert_eq!(differing(&pairs), "[]", "{name} of integers");
    }
}

#[test]
fn operators_between_numbers_are_those_of_tensors() {
    let operators = ["+", "-", "*", "/", "%", "**", "<", "<=", ">", ">=", "==", "!="];
    let functions = ["minimum", "maximum"];
    let mut pairs = Vec::new();
    for (x, y) in FLOATS.iter().flat_map(|x| FLOATS.iter().map(move |y| (*x, *y))) {
        // `==` of numbers allows a rounding error, by contract, which is what a number next to 0
        // is.
        let near = |a: &str| a.contains("e-20");
        for operator in operators {
            if ["==", "!="].contains(&operator) && (near(x) || near(y)) {
                continue;
            }
            pairs.push((
                format!("(({x}) {operator} ({y}))"),
                format!("({} {operator} ({y}))", tensor(x, true)),
            ));
        }
        for function in functions {
            pairs.push((
                format!("{function}({x}, {y})"),
                format!("{function}({}, {y})", tensor(x, true)),
            ));
        }
        pairs.push((format!("max({x}, {y})"), format!("maximum({}, {y})", tensor(x, true))));
        pairs.push((format!("min({x}, {y})"), format!("minimum({}, {y})", tensor(x, true))));
        pairs.push((
            format!("({x}).clamp({y}, 1.0)"),
            format!("{}.clamp({y}, 1.0)", tensor(x, true)),
        ));
        pairs.push((
            format!("{{ let x = {x}; x %= {y}; x }}"),
            format!("{{ let x = {}; x %= {y}; x }}", tensor(x, true)),
        ));
    }
    assert_eq!(differing(&pairs), "[]");
    // Integers divide as integers, by contract, and a power of theirs that is too large is an
    // error.
    let operators = ["+", "-", "*", "%", "<", "<=", ">", ">=", "==", "!=", "&", "|", "^"];
    let mut pairs = Vec::new();
    for (x, y) in INTEGERS.iter().flat_map(|x| INTEGERS.iter().map(move |y| (*x, *y))) {
        for operator in operators.into_iter().filter(|operator| *operator != "%" || y != "0") {
            pairs.push((
                format!("(({x}) {operator} ({y}))"),
                format!("({} {operator} ({y}))", tensor(x, false)),
            ));
        }
        for function in functions {
            pairs.push((
                format!("{function}({x}, {y})"),
                format!("{function}({}, {y})", tensor(x, false)),
            ));
        }
        // An integer and a float.
        for operator in ["+", "-", "*", "/", "%", "**", "<", ">=", "=="] {
            pairs.push((
                format!("(({x}) {operator} {y}.0)"),
                format!("({} {operator} {y}.0)", tensor(x, true)),
            ));
            pairs.push((
                format!("({x}.0 {operator} ({y}))"),
                format!("({} {operator} ({y}))", tensor(x, true)),
            ));
        }
    }
    assert_eq!(differing(&pairs), "[]");
}

#[test]
fn what_no_number_can_be_is_a_sentence() {
    all_fail(&[
        ("5 % 0", "%: the integer 5 is divided by 0"),
        ("let x = 5; x %= 0; x", "%: the integer 5 is divided by 0"),
        ("nan.to_int()", "to_int: no integer is nan"),
        ("inf.to_int()", "to_int: no integer is inf"),
        ("(2.0 ** 63).to_int()", "to_int: no integer is 9.223e18"),
        (
            "1.0.clamp(\"a\", 2)",
            "clamp: the bounds of a number must be numbers, not the string \"a\"",
        ),
        ("1.5.fixed(-1)", "fixed writes 0 to 100 digits after the point, not -1"),
        ("tensor([1.5]).fixed(101)", "fixed writes 0 to 100 digits after the point, not 101"),
    ]);
    assert!(error("2 ** 64").contains("overflow"));
}

#[test]
fn constants_are_names_everywhere_and_can_be_hidden() {
    let ran = script(
        "fn circle(r) { pi * r ** 2.0 }
         let f = |x| x < inf && !isnan(x);
         let seen = [circle(1.0) == 3.141592653589793, f.call(5.0), f.call(nan), inf == inf, nan == nan, nan != nan];
         let hooks = [hook(\"post-mlp\", |x, ctx| { ctx.turned = x.sum() * pi; })];
         let ctx = context(hooks); model(\"demo:opt\").forward(model(\"demo:opt\").encode(\"a\"), ctx);
         let inner = |k| { let g = |x| x * pi * k; g.call(2.0) };
         let pi = 3; seen + [ctx.turned.rank, inner.call(0.0), pi]",
        &[],
    )
    .ok();
    assert_eq!(ran.stdout().trim(), "[true, true, false, true, false, true, 0, 0.0, 3]");
    let ran = script("let x = 1.0;\npi = x;", &[]);
    assert_eq!(ran.output.status.code(), Some(1));
    assert!(ran.stderr().contains("pi is a constant"), "{}", ran.stderr());
}

#[test]
fn numbers_are_written_with_so_many_digits() {
    all_show(&[
        (
            "[3.14159.fixed(3), 2.fixed(2), (-0.5).fixed(0), nan.fixed(2), (-inf).fixed(1)]",
            "[\"3.142\", \"2.00\", \"-0\", \"nan\", \"-inf\"]",
        ),
        (
            "tensor([[1.0, 2.345], [nan, -1.5]]).fixed(1)",
            "[[\"1.0\", \"2.3\"], [\"nan\", \"-1.5\"]]",
        ),
        ("tensor(2.5).fixed(2) + \"!\"", "2.50!"),
        ("tensor([3]).fixed(1)", "[\"3.0\"]"),
        ("(tensor([-4.0]).to(\"c64\") ** 0.5).conj().fixed(1)", "[\"0.0-2.0i\"]"),
    ]);
}

#[test]
fn arrays_of_numbers_add_up() {
    all_show(&[
        ("[[1, 2, 3].sum(), [1, 2.5].sum(), [].sum()]", "[6, 3.5, 0]"),
        ("[[1, 2].mean(), [2.0, 4.0].mean(), [1e308, 1e308].mean() == 1e308]", "[1.5, 3.0, true]"),
        (
            "[[3, 1, 2].min(), [3, 1.5].min(), [3, 1, 2].max(), [1.0, nan].max(), [nan, 1].min()]",
            "[1, 1.5, 3, NaN, NaN]",
        ),
        ("[9007199254740993, 9007199254740992].max()", "9007199254740993"),
    ]);
    all_fail(&[
        ("[].min()", "min of an empty array is undefined"),
        ("[].max()", "max of an empty array is undefined"),
        ("[].mean()", "mean of an empty array is undefined"),
        (
            "[9223372036854775807, 1].sum()",
            "sum: the integers of the array add up to more than an integer can be",
        ),
        ("[1, \"a\"].sum()", "sum of an array takes numbers, and this one holds the string \"a\""),
        ("[[1], [2]].max()", "max of an array takes numbers, and this one holds an array of 1"),
        (
            "[tensor([1.0])].mean()",
            "mean of an array takes numbers, and this one holds a tensor [1] of f32",
        ),
    ]);
}

#[test]
fn sorting_gives_the_array_too() {
    let ran = script(
        "let a = [3, 1, 2]; let b = a.sort(); let c = a.sort(|x, y| y - x); let d = a.sort_desc(); d.push(0); [a, b, c, d]",
        &[],
    )
    .ok();
    assert_eq!(ran.stdout().trim(), "[[3, 2, 1], [1, 2, 3], [3, 2, 1], [3, 2, 1, 0]]");
}
