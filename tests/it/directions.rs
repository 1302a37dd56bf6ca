//! The shipped scripts about steering and directions, on both demo models: each shows the effect that
//! it is there to show, and a control that does not.

use crate::fixture::directory;
use crate::gallery::{DEMOS, run};
use crate::run::{Ran, script};

/// The numbers of a shipped script's .csv by the first cell of each row.
fn rows(ran: &Ran, file: &str) -> Vec<(String, Vec<f32>)> {
    let text = std::fs::read_to_string(ran.file(file)).unwrap();
    let row = |line: &str| {
        let (name, cells) = line.split_once(',').unwrap();
        (name.to_owned(), cells.split(',').map(|cell| cell.parse().unwrap()).collect())
    };
    text.lines().skip(1).map(row).collect()
}

#[track_caller]
fn numbers<'a>(rows: &'a [(String, Vec<f32>)], name: &str) -> &'a [f32] {
    &rows.iter().find(|row| row.0 == name).unwrap_or_else(|| panic!("{name}: {rows:?}")).1
}

#[test]
fn refusal_direction() {
    for model in DEMOS {
        let rows = rows(&run("refusal_direction", model), "answers.csv");
        let gap = |change: &str| {
            let [one, many, capitals] = numbers(&rows, change)[..] else { panic!("{rows:?}") };
            (one, many, capitals)
        };
        let (one, many, _) = gap("nothing");
        assert!(one > 8.0 && many < -8.0, "{model}: {rows:?}");
        for way in ["projected out", "out of the weights"] {
            // Without the direction both kinds get one answer, and other questions theirs.
            let (less_one, less_many, capitals) = gap(way);
            assert!(less_one - less_many < 0.1 * (one - many), "{model}: {rows:?}");
            assert!(less_one < 0.0 && capitals >= 0.95, "{model}: {rows:?}");
            let (random_one, random_many, _) = gap(&format!("a random one {way}"));
            assert!(random_one - random_many > 0.8 * (one - many), "{model}: {rows:?}");
        }
        assert!(gap("added").1 > 2.0 && gap("a random one added").1 < -5.0, "{model}: {rows:?}");
    }
}

/// Projecting a direction out of the weights is projecting it out of what they write, where nothing
/// is tied; where weights alone do not write the stream it is refused.
#[test]
fn a_direction_leaves_the_weights_of_every_family_or_that_is_refused() {
    let text = r#"
        import "lib/directions" as directions;
        let m = model("any");
        seed(1);
        let v = randn([m.config.hidden_size]);
        let ids = ((arange(9) * 37 + 5) % m.config.vocab_size).unsqueeze(0);
        let other = directions::out_of_weights(m, v);
        let at = |m, hooks| m.capture(ids, "post-final-layer-norm", hooks);
        let hooked = at.call(m, directions::project_out(v));
        print((at.call(other, []) - hooked).abs().max().item());
        print((at.call(m, []) - hooked).abs().max().item());
    "#;
    let on = |case: &str| script(text, &["--model", directory(case).to_str().unwrap()]);
    for case in ["opt", "gpt2", "llama", "gpt-neox", "qwen2", "falcon-grouped"] {
        let found = on(case).ok().stdout();
        let found: Vec<f32> = found.lines().map(|line| line.parse().unwrap()).collect();
        assert!(found[0] < 1e-5 && found[1] > 1e-2, "{case}: {found:?}");
    }
    for case in ["gemma2", "bloom"] {
        let said = on(case).stderr();
        assert!(said.contains("still has a part along the direction"), "{case}: {said}");
    }
}

#[test]
fn contrastive_activation_addition() {
    for model in DEMOS {
        let found = run("contrastive_activation_addition", model).tensors("steered.safetensors");
        let by_layer = |name: &str| -> Vec<Vec<f32>> { found[name].to_vec2().unwrap() };
        let (vectors, random) = (by_layer("found"), by_layer("random"));
        for (layer, (found, random)) in vectors.iter().zip(&random).enumerate() {
            assert!(found[..4].is_sorted(), "{model}, layer {layer}: {found:?}");
            // At twice the vector every answer is the one it stands for, and at minus twice the other.
            assert!(found[0] < 0.05 && found[4] > 0.95, "{model}, layer {layer}: {found:?}");
            assert!(
                random.iter().all(|share| (0.25..0.75).contains(share)),
                "{model}, layer {layer}: {random:?}"
            );
        }
    }
}
