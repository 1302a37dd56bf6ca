//! The environment variables of Python's client, before a Hub on loopback. What each means is
//! tested beside where it is read, in src/checkpoint/hub/environment.rs.

use std::process::Command;

use precompute::checkpoint::hub::environment::VARIABLES;

use crate::binary::{Ran, Workplace};
use crate::hub_server::{HubServer, TOKEN};

const SCRIPT: &str = "print(model(\"tiny/opt\").config.hidden_size);";

fn run(command: &mut Command) -> Ran {
    command.output().unwrap().into()
}

/// The binary, with this Hub in its environment and no token.
fn command(hub: &HubServer, here: &Workplace, arguments: &[&str]) -> Command {
    let mut command = here.command(arguments);
    for (name, _) in VARIABLES {
        command.env_remove(name);
    }
    command.env("HOME", here.path()).env("HF_ENDPOINT", hub.address()).env("NO_PROXY", "127.0.0.1");
    command
}

#[test]
fn a_token_is_sent_from_wherever_pythons_client_reads_it() {
    let hub = HubServer::start(&["opt"]);
    hub.restrict("tiny/opt", true, false);
    for (variables, sent) in [
        (&[("HF_TOKEN", TOKEN)][..], true),
        (&[("HUGGING_FACE_HUB_TOKEN", TOKEN)], true),
        (&[("HF_TOKEN", ""), ("HUGGING_FACE_HUB_TOKEN", TOKEN)], true),
        (&[("HF_TOKEN_PATH", "~/kept")], true),
        (&[("HF_TOKEN", TOKEN), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")], false),
        (&[("HF_TOKEN", TOKEN), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "no")], true),
    ] {
        let here = Workplace::new(&[("s.rhai", SCRIPT), ("kept", TOKEN)]);
        hub.requests();
        let ran = run(command(&hub, &here, &["run", "s.rhai"]).envs(variables.iter().copied()));
        assert_eq!(ran.code, Some(if sent { 0 } else { 1 }), "{variables:?}: {}", ran.stderr);
    }
}

#[test]
fn the_cache_is_where_pythons_client_has_it() {
    let hub = HubServer::start(&["opt"]);
    for (variables, place) in [
        (&[][..], ".cache/huggingface/hub"),
        (&[("HF_HUB_CACHE", "~/models")], "models"),
        (&[("HUGGINGFACE_HUB_CACHE", "${HOME}/older")], "older"),
        (&[("HF_HOME", "~/hf")], "hf/hub"),
        (&[("XDG_CACHE_HOME", "$HOME/xdg")], "xdg/huggingface/hub"),
    ] {
        let here = Workplace::new(&[("s.rhai", SCRIPT)]);
        let ran = run(command(&hub, &here, &["run", "s.rhai"]).envs(variables.iter().copied()));
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "48\n"), "{}", ran.stderr);
        let config = |copied: bool| {
            let repository = here.path().join(place).join("models--tiny--opt");
            let snapshot = std::fs::read_dir(repository.join("snapshots")).unwrap().next().unwrap();
            let config = snapshot.unwrap().path().join("config.json");
            assert!(config.is_file());
            assert_eq!(config.is_symlink(), !copied);
        };
        config(false);
        std::fs::remove_dir_all(here.path().join(place)).unwrap();
        let ran = run(command(&hub, &here, &["run", "s.rhai"])
            .envs(variables.iter().copied())
            .env("HF_HUB_DISABLE_SYMLINKS", "1"));
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "48\n"), "{}", ran.stderr);
        config(true);
        hub.requests();
        let ran = run(command(&hub, &here, &["run", "s.rhai"])
            .envs(variables.iter().copied())
            .env("TRANSFORMERS_OFFLINE", "yes"));
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "48\n"), "{}", ran.stderr);
        assert_eq!(hub.requests().len(), 0);
    }
}

#[test]
fn a_time_that_is_none_is_a_sentence() {
    let hub = HubServer::start(&["opt"]);
    for variable in ["HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT"] {
        let here = Workplace::new(&[("s.rhai", SCRIPT)]);
        let ran = run(command(&hub, &here, &["run", "s.rhai"]).env(variable, "soon"));
        assert_eq!(ran.code, Some(1));
        let sentence = format!("{variable} must be a number of seconds, not \"soon\"");
        assert!(ran.stderr.contains(&sentence), "{}", ran.stderr);
    }
}

#[test]
fn a_cached_model_that_lacks_its_tokenizer_says_to_fetch_it() {
    let hub = HubServer::start(&["gpt2"]);
    let script = "print(model(\"tiny/gpt2\").encode(\"the cat\").shape);";
    let here = Workplace::new(&[("s.rhai", script)]);
    assert_eq!(run(&mut command(&hub, &here, &["run", "s.rhai"])).code, Some(0));
    let cache = here.path().join(".cache/huggingface/hub/models--tiny--gpt2/snapshots");
    let snapshot = std::fs::read_dir(cache).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_file(snapshot.join("tokenizer.json")).unwrap();
    let ran = run(&mut command(&hub, &here, &["run", "s.rhai", "--offline"]));
    assert_eq!(ran.code, Some(1));
    for said in ["tiny/gpt2", "has no tokenizer", "run once online"] {
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
    }
    assert_eq!(run(&mut command(&hub, &here, &["run", "s.rhai"])).code, Some(0));
    assert_eq!(run(&mut command(&hub, &here, &["run", "s.rhai", "--offline"])).code, Some(0));
}

#[test]
fn the_page_lists_every_variable() {
    let page = include_str!("../../src/docs/models.md");
    for (name, what) in VARIABLES {
        assert!(page.contains(&format!("| `{name}` | {what} |")), "{name}");
    }
}
