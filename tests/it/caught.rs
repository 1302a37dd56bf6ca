//! `try { … } catch (e) { … }`: e is one kind of value, whoever raised the error.

use crate::binary::script;

/// Texts that fail, whoever raises the error.
const ERRORS: &[&str] = &[
    // Rhai's own.
    "[][1]",
    "1 / 0",
    "nope()",
    "let a = [1]; a.nope()",
    "nope + 1",
    "#{} - 1",
    "parse_int(\"x\")",
    "let n = 5; for x in n { }",
    // This program's.
    "zeros(2)[5]",
    "hook(\"post-mpl\", |x, ctx| x)",
    "ones(2).sum(3)",
    "model(\"demo:opt\", #{devise: 1})",
    "ones(2).topk(1).value",
    "fails(1)",
    "let f = || zeros(2).item(); f.call()",
    // The script's.
    "throw \"no\"",
    "throw",
];

#[test]
fn an_error_is_its_sentence_with_its_line_whoever_raised_it() {
    for text in ERRORS {
        let plain =
            script(&format!("fn fails(n) {{ throw `a function fails at ${{n}}` }}\n{text};"))
                .stderr;
        let sentence = plain
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("error: "))
            .unwrap_or_else(|| panic!("{text}"));
        let ran = script(&format!(
            "fn fails(n) {{ throw `a function fails at ${{n}}` }} let kept = ();\ntry {{ {text}; }} catch (e) {{ kept = e; }}\n\
             print(kept); print(kept.message); print(`in ${{kept}}`); print(\"failed: \" + kept); print(kept + \".\");\n\
             print([kept == kept.message, kept.message == kept, kept != \"x\", kept != kept.message, \"z9\" in kept]);\n\
             print(type_of(kept)); print([kept]); print(kept.line);"
        ));
        let line = if text.starts_with("fails") { 1 } else { 2 };
        let expected = format!(
            "{sentence}\n{sentence}\nin {sentence}\nfailed: {sentence}\n{sentence}.\n[true, true, true, false, false]\nerror\n\
             [{sentence:?}]\n{line}\n"
        );
        assert_eq!(ran.stdout, expected, "{text}\n{}", ran.stderr);
    }
}

#[test]
fn thrown_again_it_keeps_its_place_and_its_help() {
    for (handler, way) in [
        ("throw e;", ""),
        ("throw;", ""),
        ("let again = e; throw again;", ""),
        ("try { throw e; } catch (inner) { throw inner; }", ""),
        ("on(e);", "\n  in on, called at s.rhai:3:46"),
    ] {
        let ran = script(&format!(
            "fn on(e) {{ throw e; }}\n\ntry {{ let x = zeros(2).item(); }} catch (e) {{ {handler} }}"
        ));
        assert_eq!(ran.code, Some(1));
        assert!(
            ran.stderr.starts_with(
                "error: item needs a tensor of one element, not [2]\n   --> s.rhai:3:24"
            ),
            "{}",
            ran.stderr
        );
        assert!(
            ran.stderr.contains("help: index it first, as in t[0], or take .to_array()"),
            "{handler}: {}",
            ran.stderr
        );
        assert!(ran.stderr.contains(way), "{handler}: {}", ran.stderr);
    }
}

#[test]
fn a_handler_is_a_block_like_any_other() {
    for (text, printed) in [
        // What a script throws itself, and is no text, is what the handler gets.
        ("try { throw #{code: 3} } catch (e) { print(e.code); }", "3\n"),
        ("try { throw 5 } catch (e) { print(e + 1); }", "6\n"),
        ("try { throw [1, 2] } catch (e) { print(e); }", "[1, 2]\n"),
        // Without a variable, and with one of a name that exists outside.
        ("let n = 0; try { throw 1 } catch { n += 1; } print(n)", "1\n"),
        ("let e = 7; try { throw \"x\" } catch (e) { print(e); } print(e)", "x\n7\n"),
        (
            "let a = 1; let b = 2; try { throw \"x\" } catch (e) { let c = a + b; print(`${a} ${b} ${c} ${e}`); } print(a)",
            "1 2 3 x\n1\n",
        ),
        ("try { throw \"x\" } catch (e) { e = \"changed\"; print(e); }", "changed\n"),
        ("try { throw \"x\" } catch { let y; print(y == ()); }", "true\n"),
        // Nested, in closures, in functions, in loops, in texts.
        (
            "try { try { throw \"in\" } catch (e) { throw `out of ${e}` } } catch (e) { print(e); }",
            "out of in\n",
        ),
        (
            "let f = |x| { try { throw \"x\" } catch (e) { return `${e}${x}`; } }; print(f.call(2))",
            "x2\n",
        ),
        ("try { throw \"x\" } catch (e) { let f = || e.message; print(f.call()); }", "x\n"),
        ("fn f() { try { throw \"x\" } catch (e) { return e.message; } 3 } print(f())", "x\n"),
        ("fn f() { try { return 4; } catch (e) { return e; } 3 } print(f())", "4\n"),
        (
            "for i in 0..5 { try { if i == 1 { continue; } if i == 3 { break; } throw i } catch (e) { print(e); } }",
            "0\n2\n",
        ),
        ("for i in 0..3 { try { throw i } catch (e) { if e == 1 { break; } print(e); } }", "0\n"),
        ("print(`${ try { 1 } catch (e) { 2 } }`)", "1\n"),
        // Its value is that of the block that came to its end.
        ("let n = try { parse_int(\"x\") } catch { -1 }; print(n)", "-1\n"),
        ("let n = try { parse_int(\"3\") } catch { -1 }; print(n)", "3\n"),
        // As data.
        (
            "try { [][0] } catch (e) { print(#{e: e, n: 1}.to_json()); }",
            "{\"e\":\"index 0 is outside the array: it is empty\",\"n\":1}\n",
        ),
        (
            "try { throw \"x\" } catch (e) { print([e.help, e.file, e.column]); }",
            "[(), \"s.rhai\", 7]\n",
        ),
        (
            "try { zeros(2).item() } catch (e) { print(e.help); }",
            "index it first, as in t[0], or take .to_array()\n",
        ),
        (
            "try { throw \"no file\" } catch (e) { print([e.contains(\"file\"), e.starts_with(\"no\"), e.ends_with(\"x\")]); }",
            "[true, true, false]\n",
        ),
    ] {
        let ran = script(text);
        assert_eq!((ran.stdout.as_str(), ran.code), (printed, Some(0)), "{text}\n{}", ran.stderr);
    }
}

#[test]
fn an_error_of_a_hook_is_caught_where_the_pass_is_asked_for() {
    let ran = script(
        "let m = model(\"demo:opt\"); let ids = m.encode(\"Mary\");\nlet ctx = context([hook(\"post-mlp\", |x, ctx| {\n    x.reshape([7, 7])\n})]);\n\
         try { m.forward(ids, ctx); } catch (e) { print(e.line); save(\"why\", e); save(\"rows\", [#{layer: 1, why: e}]); }\n\
         let ctx = context([hook(\"post-mlp\", |x, ctx| { try { x.item() } catch (e) { ctx.said = e.message; } x })]);\n\
         m.forward(ids, ctx); print(ctx.said);",
    );
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.stdout, "3\nitem needs a tensor of one element, not [1, 3, 128]\n");
}

#[test]
fn a_mistake_in_a_handler_is_a_sentence() {
    for (text, sentence) in [
        ("try { 1 }", "catch is expected here, after the block of try"),
        ("try { 1 } catch e { 2 }", "{ is expected here, to start a statement block"),
        (
            "try { 1 } catch (5) { 2 }",
            "catch takes a variable's name, as in catch (e) { … }: 5 is none",
        ),
        ("try { 1 } catch () { 2 }", "catch takes a variable's name"),
        ("try { 1 } catch (e, f) { 2 }", "catch takes a variable's name"),
        ("try { throw \"x\" } catch (e) { e.mesage }", "a caught error has no mesage"),
    ] {
        let ran = script(text);
        assert!(
            ran.code == Some(1) && ran.stderr.starts_with(&format!("error: {sentence}")),
            "{text}\n{}",
            ran.stderr
        );
        assert!(ran.stderr.contains('^'), "{text}\n{}", ran.stderr);
    }
}
