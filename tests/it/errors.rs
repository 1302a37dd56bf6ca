//! What a person reads when a script fails: the sentence, the place under a caret, the way there,
//! what to try.

use precompute::script::{Host, Settings};

use crate::binary::{Workplace, script};

/// Runs `text` as `s.rhai`, which must fail with exactly `expected`.
fn fails(text: &str, expected: &str) {
    let ran = script(text);
    assert_eq!((ran.code, ran.stderr.trim_end()), (Some(1), expected.trim()), "{text}");
}

#[test]
fn the_caret_stands_under_the_place() {
    fails(
        "let a = 1;\n\tlet b = a + cutof;\n",
        "
error: there is no variable cutof here
   --> s.rhai:2:14
    |
  2 |     let b = a + cutof;
    |                 ^^^^^",
    );
    fails(
        "let s = \"日本語\"; s.zzz()",
        "
error: a string has no method zzz()
   --> s.rhai:1:18
    |
  1 | let s = \"日本語\"; s.zzz()
    |                     ^^^",
    );
    let long = format!("let a = [{}]; a.nope()", "1, ".repeat(200));
    let ran = script(&long);
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert!(lines[3].starts_with("  1 | …") && lines[3].ends_with("a.nope()"), "{}", ran.stderr);
    let caret = lines[4].chars().position(|c| c == '^').unwrap();
    assert_eq!(lines[3].chars().skip(caret).collect::<String>(), "nope()");
}

#[test]
fn an_error_in_a_function_says_who_called_it() {
    fails(
        "fn half(x) { x / \"2\" }\nlet f = |x| half(x);\n[1].map(|x| f.call(x));",
        "
error: there is no / between an int and a string
   --> s.rhai:1:16
    |
  1 | fn half(x) { x / \"2\" }
    |                ^
  in half, called at s.rhai:2:13
  in a closure, called at s.rhai:3:15
  in a closure, called at s.rhai:3:5",
    );
    let ran = script("fn f(n) { if n == 0 { throw \"deep\" } else { f(n - 1) } }\nf(9)");
    assert!(ran.stderr.starts_with("error: deep\n   --> s.rhai:1:23\n"), "{}", ran.stderr);
    assert!(
        ran.stderr.ends_with("  in f, called at s.rhai:1:45\n  in f, called at s.rhai:2:1\n"),
        "{}",
        ran.stderr
    );
}

#[test]
fn an_error_in_an_import_points_into_the_imported_file() {
    let here = Workplace::new(&[
        ("s.rhai", "import \"sub/outer\" as outer;\nouter::start(1)"),
        ("sub/outer.rhai", "import \"inner\" as inner;\n\nfn start(x) { inner::fail(x) }"),
        ("sub/inner.rhai", "fn fail(x) { x.nope() }"),
        ("t.rhai", "import \"broken\" as b;"),
        ("broken.rhai", "let a = (1 + ;"),
        ("u.rhai", "import \"thrower\" as t;"),
        ("thrower.rhai", "print(\"once\");\nthrow \"no\";"),
    ]);
    let ran = here.run(&["run", "s.rhai"]);
    let expected = "
error: an int has no method nope()
   --> sub/inner.rhai:1:16
    |
  1 | fn fail(x) { x.nope() }
    |                ^^^^
  in fail, called at sub/outer.rhai:3:22
  in start, called at s.rhai:2:8
";
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), &expected[1..]));
    let ran = here.run(&["run", "t.rhai"]);
    let expected = "
error: unexpected ';'
   --> broken.rhai:1:14
    |
  1 | let a = (1 + ;
    |              ^
  imported at t.rhai:1:8
";
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), &expected[1..]));
    let ran = here.run(&["run", "u.rhai"]);
    assert_eq!(ran.stdout, "once\n");
    assert!(ran.stderr.starts_with("error: no\n   --> thrower.rhai:2:1\n"), "{}", ran.stderr);
}

/// A script, and the sentence and the help that it ends in.
const SENTENCES: &[(&str, &str, &str)] = &[
    // names
    ("let cutoff = 1; print(cutof)", "there is no variable cutof here", "did you mean cutoff?"),
    ("count = 1;", "there is no variable count to assign to", "let count = … declares it"),
    (
        "let scale = 2.0; fn grow(x) { x * scale } grow(1.0)",
        "there is no variable scale here",
        "a fn sees only its arguments: pass scale to grow, or make it a closure |…| { … }",
    ),
    (
        "{ let a = 1; } print(a)",
        "there is no variable a here",
        "a is declared elsewhere in this script, after this line or within a block",
    ),
    (
        "let x = context; 1",
        "there is no variable context here",
        "context is a function: call it as context(…)",
    ),
    ("contxt([])", "there is no function contxt", "did you mean context"),
    (
        "let f = |x| x; f(1)",
        "there is no function f",
        "f is a variable: a closure in it is called with f.call(…)",
    ),
    ("fn f(a, b) { a } f(1)", "f does not take (int)", "there is f(a, b)"),
    (
        "lens::logits(1)",
        "no module is imported as lens",
        "import \"file\" as lens; imports file.rhai",
    ),
    (
        "import \"lib/labels\" as l; l::layer(1)",
        "module l has no function layer(int)",
        "did you mean layers",
    ),
    // calls
    (
        "let f = |x| x; f.call(1, 2)",
        "the closure takes another number of arguments than the 2 it is called with",
        "",
    ),
    (
        "hook(\"post-mlp\", 1)",
        "hook does not take (string, int)",
        "there is hook(string, function), hook(string, function, map)",
    ),
    (
        "zeros([2]).reshape()",
        "reshape of a tensor does not take ()",
        "there is tensor.reshape(value), ",
    ),
    ("zeros([2]).reshap([1, 2])", "a tensor has no method reshap(array)", "did you mean reshape"),
    ("zeros([2]).shap", "a tensor has no property shap", "did you mean shape"),
    (
        "zeros([2]).numel()",
        "a tensor has no method numel()",
        "numel is a property: it is read without ()",
    ),
    ("zeros([2]).cpu", "a tensor has no property cpu", "cpu is a method: it is called as .cpu()"),
    ("zeros([2])[\"a\"]", "a tensor can't be indexed with a string", ""),
    (
        "zeros([2]) + zeros([3])",
        "+: shapes [2] and [3] do not broadcast: 2 against 3",
        "counted from the last",
    ),
    ("timestamp().elapse", "a timestamp has no property elapse", "did you mean elapsed?"),
    ("let t = timestamp(); t.elapsed = 1", "elapsed of a timestamp can't be set", ""),
    ("\"abc\".lenn()", "a string has no method lenn()", "did you mean len?"),
    ("context().keys", "the context has no key \"keys\"", "nothing has been put into it yet"),
    (
        "let config = #{}; config.rope.theta",
        "theta is looked up on nothing: what stands before it is ()",
        "a map gives () for a key that it does not have, and a function without a value gives ()",
    ),
    (
        "let config = #{}; config.rope.get(1)",
        "get() is called on nothing: what stands before it is ()",
        "a map gives () for a key that it does not have, and a function without a value gives ()",
    ),
    (
        "#{}.layers + 1",
        "there is no + between nothing and an int",
        "one side is (): a map gives it for a key that it does not have",
    ),
    (
        "[1, 2] * 2",
        "there is no * between an array and an int",
        "an array is a list of values: tensor(array) can be calculated with",
    ),
    ("-\"a\"", "there is no - of a string", ""),
    // values
    (
        "[1, 2][2]",
        "index 2 is outside the array: it has 2 elements",
        "0 to 1 count from the front, -1 to -2 from the back",
    ),
    ("[][0]", "index 0 is outside the array: it is empty", ""),
    ("let s = \"abc\"; s[1.5]", "an int was expected here, and a float came", ""),
    (
        "let a = [1, 2]; a[1..]",
        "an array has no range of places",
        "array.extract(1..3) cuts it; a tensor takes [1..3]",
    ),
    (
        "let x = 5; for i in x { }",
        "for can't go through this value",
        "an array, a range, a string or a tensor will do",
    ),
    ("1 / 0", "division by zero: 1 / 0", ""),
    ("9223372036854775807 + 1", "addition overflow: 9223372036854775807 + 1", ""),
    ("const A = 1; A = 2;", "A is a constant", "declare it with let A = … to change it"),
    (
        "fn f(n) { f(n + 1) } f(0)",
        "functions call each other more than 200 deep",
        "does one call itself without end? A fn that reads this comes before a method of its name",
    ),
    (
        "let log = [1]; log.map(|x| log.len())",
        "map(…) is called on a value that the closure given to it captured",
        "a closure captures the variable, not its value: give it a copy of its own, as in let own = log;",
    ),
    // what a script throws
    ("throw \"cutoff must be positive\"", "cutoff must be positive", ""),
    ("throw #{code: 1}", "the script threw #{\"code\": 1}", ""),
    ("throw", "the script threw an error without a message", "throw \"what went wrong\";"),
    ("try { [][1] } catch (e) { throw e }", "index 1 is outside the array: it is empty", ""),
    (
        "try { hook(\"post-mpl\", |x, ctx| x) } catch (e) { throw e }",
        "there is no hook point \"post-mpl\"",
        "did you mean post-mlp",
    ),
    // text that does not compile
    (
        "let a = [1, 2",
        "the script ends in the middle of something",
        "a bracket, a brace or a comment is opened and not closed",
    ),
    (
        "let s = \"abc\nd",
        "this string is not closed",
        "a text over several lines stands between backticks, `like this`",
    ),
    ("let a = 1 let b = 2", "a ; is missing before this: to terminate this statement", ""),
    (
        "let [a, b] = [1, 2];",
        "a variable's name is expected here",
        "Rhai does not take values apart: let pair = …; let a = pair[0];",
    ),
    ("let 2x = 1;", "a variable's name is expected here", ""),
    ("let goto = 1;", "goto is a word of the language and can't be used here", ""),
    ("break;", "break is outside a loop", ""),
    (
        "if true { fn g() {} }",
        "a fn is defined at the top level of a script only",
        "a closure can be made anywhere: let f = |x| { … };",
    ),
    (
        "eval(\"1\")",
        "eval is off: a script can't run a text",
        "functions that several scripts share go into a file: import \"file\" as name;",
    ),
    (
        "let n = 7 // 2;\nlet m = 1;",
        "// begins a comment here, and what follows it is not read",
        "integers divide as integers with /",
    ),
    // hooks
    (
        "hook(\"post-mpl\", |x, ctx| x)",
        "there is no hook point \"post-mpl\"",
        "did you mean post-mlp",
    ),
    (
        "hook(\"post-mlp\", |x| x)",
        "a hook takes two parameters, x and ctx, and the closure at post-mlp takes 1",
        "as in |x, ctx| x * 2.0",
    ),
];

#[test]
fn every_mistake_has_its_sentence() {
    let mut wrong = Vec::new();
    for (text, sentence, help) in SENTENCES {
        let ran = script(text);
        let lines: Vec<&str> = ran.stderr.lines().collect();
        let caret =
            lines.get(1).is_some_and(|at| at.contains("--> s.rhai:")) && ran.stderr.contains('^');
        let helped = match *help {
            "" => !ran.stderr.contains("help:"),
            help => ran.stderr.contains(&format!("\n  help: {help}")),
        };
        if ran.code != Some(1)
            || lines.first() != Some(&format!("error: {sentence}").as_str())
            || !caret
            || !helped
        {
            wrong.push(format!("{text}\n{:?} {}", ran.code, ran.stderr));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n\n{}", wrong.len(), SENTENCES.len(), wrong.join("\n"));
}

#[test]
fn an_error_of_a_call_can_be_caught_and_the_script_goes_on() {
    let ran = script(
        "let said = \"\"; try { hook(\"nowhere\", |x, ctx| x) } catch (e) { said = e; } print(said); 1",
    );
    assert_eq!(ran.code, Some(0));
    assert!(
        ran.stdout.starts_with("there is no hook point \"nowhere\"")
            && ran.stdout.ends_with("\n1\n"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_failed_run_leaves_the_host_usable() {
    let host = Host::new(Settings::default()).unwrap();
    let failure = host.eval("let a = [1]; a.nope()").unwrap_err();
    assert_eq!((failure.message(), failure.exit_code()), ("an array has no method nope()", 1));
    let place = failure.place().unwrap();
    assert_eq!((place.file.as_str(), place.line, place.column), ("input", 1, Some(16)));
    assert!(host.eval("let a = (1").is_err());
    assert_eq!(host.eval("[1, 2].len()").unwrap().as_int(), Ok(2));
}
