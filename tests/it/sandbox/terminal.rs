//! Text that would command the terminal it is shown on.

use std::fs::File;
use std::io::Read;
use std::os::fd::FromRawFd;
use std::process::Stdio;

use crate::binary::Workplace;

/// Runs `s.rhai` on a terminal: what that was sent.
fn on_a_terminal(here: &Workplace, arguments: &[&str]) -> String {
    let (mut ours, mut theirs) = (0, 0);
    let null = std::ptr::null_mut();
    // SAFETY: openpty fills in two file descriptors, which the Files then own.
    let (mut ours, theirs) = unsafe {
        assert_eq!(
            libc::openpty(&raw mut ours, &raw mut theirs, null, null.cast(), null.cast()),
            0
        );
        (File::from_raw_fd(ours), File::from_raw_fd(theirs))
    };
    let mut command = here.command(&["run", "s.rhai", "--out", "out"]);
    command.args(arguments);
    command.stdout(Stdio::from(theirs.try_clone().unwrap())).stderr(Stdio::from(theirs));
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut sent = Vec::new();
    let mut part = [0; 4096];
    // A terminal that nobody writes to any more is an error to read from.
    while let Ok(n @ 1..) = ours.read(&mut part) {
        sent.extend_from_slice(&part[..n]);
    }
    child.wait().unwrap();
    String::from_utf8_lossy(&sent).into_owned()
}

/// Sequences that clear the screen, set the title, fill the clipboard, and turn the writing
/// direction.
const EVIL: &str = r"\x1b[2J\x1b]0;owned\x07\x1b]52;c;ZWNobyBwd25lZA==\x07\u009b31m\u202e\x08\x08";

#[test]
fn what_a_script_says_does_not_command_the_terminal() {
    for attack in [
        format!("print(\"seen{EVIL}\")"),
        format!("debug(\"seen{EVIL}\")"),
        format!("\"seen{EVIL}\""),
        format!("[\"seen{EVIL}\"]"),
        format!("throw \"seen{EVIL}\""),
        format!("table([#{{a: \"seen{EVIL}\"}}])"),
        format!("plot(#{{y: [1, 2], title: \"seen{EVIL}\", xlabel: \"seen{EVIL}\"}})"),
        format!("heatmap([[1, 2]], #{{title: \"seen{EVIL}\", y: [\"seen{EVIL}\"]}})"),
        format!("attention([\"seen{EVIL}\"], ones([1, 1]), #{{title: \"seen{EVIL}\"}})"),
        format!("graph([#{{id: \"seen{EVIL}\", layer: 0}}], [], #{{title: \"seen{EVIL}\"}})"),
        format!("let p = progress(\"seen{EVIL}\", 3); p.tick(); p.tick(); print(\"seen\")"),
        format!("let c = context(); c[\"seen{EVIL}\"] = 1; c.seem"),
        format!("save(\"seen{EVIL}\", 1)"),
        format!("load_tensors(\"seen{EVIL}\")"),
        format!("model(\"seen{EVIL}\")"),
        format!("param(\"seen{EVIL}\", \"seen{EVIL}\", \"seen{EVIL}\")"),
        "nope; /* seen \x1b[2J\x1b]0;owned\x07\u{9b}31m\u{202e}\x08 */".into(),
    ] {
        let help: &[&str] = if attack.starts_with("param") { &["--help-params"] } else { &[] };
        let sent = on_a_terminal(&Workplace::new(&[("s.rhai", &attack)]), help);
        assert!(sent.contains("seen"), "{attack}\n{sent:?}");
        for evil in ["\x1b[2J\x1b]", "\x1b]0;", "\x1b]52", "\u{9b}", "\u{202e}", "\x08"] {
            assert!(!sent.contains(evil), "{attack}\n{sent:?}");
        }
    }
}

#[test]
fn a_reader_that_is_no_terminal_gets_the_text_as_it_is() {
    let ran = Workplace::new(&[("s.rhai", r#"print("a\x1b[2Jb")"#)]).run(&["run", "s.rhai"]);
    assert_eq!(ran.stdout, "a\x1b[2Jb\n");
}
