//! What people bring from PyTorch, TransformerLens and Python: each is answered with how it is said
//! here, at its place.

use precompute::script::errors::foreign::{NAMES, On, WRITINGS};

use crate::binary::script;

/// Runs a text that fails: its second line, where the caret stands, and the help.
fn help(text: &str) -> (String, String) {
    let ran = script(text);
    assert_eq!(ran.code, Some(1), "{text}\n{}", ran.stdout);
    assert!(ran.stderr.contains("^"), "{text}\n{}", ran.stderr);
    let help =
        ran.stderr.split("\n  help: ").nth(1).unwrap_or_else(|| panic!("{text}\n{}", ran.stderr));
    (ran.stderr.lines().nth(1).unwrap_or_default().trim().to_owned(), help.trim_end().to_owned())
}

#[test]
fn every_name_of_the_table_is_answered_where_it_stands() {
    // One process for all of a kind: each error is caught, and says its help.
    for on in [On::Tensor, On::Model, On::Output, On::Array, On::Text, On::Nothing] {
        let value = match on {
            On::Tensor => "ones([2, 3])",
            On::Model => "model(\"demo:opt\")",
            On::Output => "model(\"demo:opt\").forward(tensor([[1, 2]]))",
            On::Array => "[1, 2]",
            On::Text => "\"abc\"",
            On::Nothing => "()",
        };
        let mut text = format!("let value = {value};\n");
        let mut expected = Vec::new();
        for (_, names, here) in NAMES.iter().filter(|(of, ..)| *of == on) {
            for name in *names {
                let uses = match on {
                    // m.to_string() is a text; what TransformerLens's takes is another matter.
                    On::Model if *name == "to_string" => vec!["value.to_string([1])".to_owned()],
                    On::Nothing if ["len", "int", "float", "not"].contains(name) => {
                        vec![format!("{name}(ones(2))")]
                    }
                    On::Nothing => vec![format!("{name}(1)"), name.to_string()],
                    _ => vec![format!("value.{name}(1)"), format!("value.{name}")],
                };
                for one in uses {
                    text += &format!(
                        "try {{ {one}; print(\"nothing\"); }} catch (e) {{ print(`${{e.line}} ${{e.column}} ${{e.help}}`); }}\n"
                    );
                    let column = 7 + one.find(name).unwrap();
                    expected.push(format!("{} {column} {here}", expected.len() + 2));
                }
            }
        }
        let ran = script(&text);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let wrong: Vec<String> = ran
            .stdout
            .lines()
            .zip(&expected)
            .zip(text.lines().skip(1))
            .filter(|((said, expected), _)| said != expected)
            .map(|((said, expected), text)| format!("{text}\n  {said}\n  {expected}"))
            .collect();
        assert!(
            wrong.is_empty() && ran.stdout.lines().count() == expected.len(),
            "{on:?}\n{}",
            wrong.join("\n")
        );
    }
}

/// A text that does not compile, what is said to be written another way, and the column of the
/// caret.
const TEXTS: &[(&str, &str, usize)] = &[
    ("let x = 1; # a comment", "# before a comment", 12),
    ("let y = x @ z;", "a matrix product with @", 11),
    ("@torch.no_grad()", "a decorator", 1),
    ("def f(x):", "def", 5),
    ("async def f(x):", "def", 1),
    ("let f = lambda x: x * 2;", "lambda", 16),
    ("class Probe:", "class", 7),
    ("from torch import nn", "import of a Python module", 6),
    ("if x == 1 { } elif x == 2 { }", "elif", 20),
    ("try:", "except", 4),
    ("raise ValueError(\"x\")", "raise", 7),
    ("assert x > 0", "assert", 8),
    ("del x", "del", 5),
    ("with torch.no_grad():", "with", 1),
    ("let m = 1; m.eval()", "eval()", 14),
    ("let y = a if c else b;", "an if within a value", 11),
    ("if not x { }", "not", 8),
    ("let c = a and b;", "and", 11),
    ("if a or b { }", "or", 6),
    ("let c = a is b;", "is", 11),
    ("let l = [x * 2 for x in xs];", "a list made by for", 16),
    ("for i in range(0, 3):", "a block that : begins", 21),
    ("if x > 1:", "a block that : begins", 9),
    ("while true:", "a block that : begins", 11),
    ("let y = x[:, 1];", "a slice with :", 11),
    ("let y = x[1:3];", "a slice with :", 12),
    ("let y = x[0, :];", "a slice with :", 12),
    ("let y = x.y[.., 1];", "an index for each dim", 15),
    ("let y = x[1, 2];", "an index for each dim", 12),
    ("let t = f\"layer {n}\";", "a text after f", 10),
    ("print('abc')", "a text in '…'", 7),
    ("let y = x.mean(dim=1);", "an argument by name", 19),
    ("let y = x.mean(dim: 1);", "an argument by name", 19),
    ("f(**kwargs)", "arguments after **", 2),
    ("let m = {\"a\": 1};", "a map without #", 13),
    ("let x: int = 1;", "a type after :", 6),
    ("n++;", "++", 2),
    ("print \"x\"", "print without ()", 1),
];

#[test]
fn every_writing_of_another_language_is_answered_at_its_place() {
    let mut wrong = Vec::new();
    for (text, what, column) in TEXTS {
        let here = WRITINGS
            .iter()
            .find(|writing| writing.what == *what)
            .unwrap_or_else(|| panic!("{what}"))
            .here;
        let ran = script(text);
        let expected =
            format!("error: {what} is written another way here\n   --> s.rhai:1:{column}\n");
        if !ran.stderr.starts_with(&expected)
            || !ran.stderr.trim_end().ends_with(&format!("\n  help: {here}"))
        {
            wrong.push(format!("{text}\n{expected}{}", ran.stderr));
        }
    }
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), TEXTS.len(), wrong.join("\n"));
}

#[test]
fn what_is_no_name_and_no_writing_is_answered_too() {
    for (text, place, said) in [
        ("let x = ones(2);\nif x { 1 }", "2:4", ".item(): (x > 0).all().item()"),
        (
            "let x = ones([2, 3, 4]); let mask = ones([2, 3]) > 0;\nlet y = stack([x, x], 0)[mask];",
            "2:25",
            "x[[.., mask]] has a .. for each dim",
        ),
        ("import torch", "1:8", "functions stand by themselves"),
        ("[1].append(2)", "1:5", "list.push(x) adds one"),
        ("print(1, 2)", "1:1", "print(`${x} ${y}`)"),
        ("ones([2, 3]).mean(#{axis: 1})", "1:14", "dim is what axis is elsewhere"),
        (
            "hook(\"post-mlp\", |g, ctx| g * 0.5, #{dir: \"bwd\"})",
            "1:1",
            "backward is what dir is elsewhere",
        ),
        ("ones([2, 3]).max(1).values", "1:21", "x.max(1) is enough"),
        ("ones(2).add_(1)", "1:9", "x += y, x *= y and x[..] = y write into x"),
        ("let m = model(\"demo:opt\");\nm(tensor([[1]]))", "2:1", "a model with m.forward(ids)"),
        (
            "let m = model(\"demo:opt\");\nm.run_with_cache(\"a\")",
            "2:3",
            "m.capture(ids, [\"post-mlp\", \"attn-probs\"])",
        ),
        ("hook(\"blocks.1.hook_q\", |x, ctx| x)", "1:1", "did you mean blocks.1.attn.hook_q?"),
        ("hook(\"blocks.1.hook_z\", |x, ctx| x)", "1:1", "did you mean blocks.1.attn.hook_z?"),
        (
            "hook(\"blocks.2.hook_pattern\", |x, ctx| x)",
            "1:1",
            "did you mean blocks.2.attn.hook_pattern?",
        ),
        ("hook(\"blocks.0.hook_post\", |x, ctx| x)", "1:1", "did you mean blocks.0.mlp.hook_post?"),
        (
            "hook(\"blocks.0.hook_resid_pots\", |x, ctx| x)",
            "1:1",
            "did you mean blocks.0.hook_resid_post?",
        ),
        ("hook(\"hook_q\", |x, ctx| x)", "1:1", "did you mean blocks.0.attn.hook_q?"),
        ("hook(\"resid_post\", |x, ctx| x)", "1:1", "did you mean post-mlp?"),
        ("hook(\"pattern\", |x, ctx| x)", "1:1", "did you mean attn-probs?"),
        ("hook(\"blocks.0.hook_attn_in\", |x, ctx| x)", "1:1", "query-input, key-input"),
        ("hook(\"hook_pos_embed\", |x, ctx| x)", "1:1", "post-pos-embeddings"),
    ] {
        let (at, help) = help(text);
        assert!(
            at.ends_with(&format!("s.rhai:{place}")) && help.contains(said),
            "{text}\n{at}\n{help}"
        );
    }
}

#[test]
fn what_compiles_here_is_not_taken_for_python() {
    for (text, printed) in [
        ("let and = 1; let or = 2; print(and + or)", "3"),
        (
            "let x = [1, 2]; let y = if x[0] == 1 { \"a: b, c\" } else { \"#\" }; print(y) // def",
            "a: b, c",
        ),
        ("let m = #{a: 1, \"b\": [1, 2]}; print(m.b[1])", "2"),
        ("switch 1 { 1 => print(\"f\"), _ => print('c') }", "f"),
    ] {
        let ran = script(text);
        assert_eq!(ran.stdout.trim_end(), printed, "{text}\n{}", ran.stderr);
    }
}
