//! `lib/weights` and the recipe that edits a fact: the fact changes, its neighbours do not.

use crate::fixture::directory;
use crate::gallery::{DEMOS, flat, run_with};
use crate::run::script;

/// What is added stands in the output matrix, whichever way round the checkpoint stores it, and in no
/// other weight; the MLP's output changes by what it reads times that.
#[test]
fn a_change_of_an_mlp_is_one_of_its_output_matrix() {
    for case in ["opt", "gpt2", "gpt-neox", "llama", "gemma2", "falcon"] {
        let ran = script(
            r#"import "lib/weights" as weights;
            let m = model(param("model", "demo:opt"));
            seed(1);
            let out = m.mlp(1).w_out;
            let change = randn(out.shape);
            let edited = weights::add_to_mlp(m, 1, change);
            print((edited.mlp(1).w_out - (out + change)).abs().max().item());
            let names = m.weights("*").keys();
            print(names.filter(|name| (m.weight(name) != edited.weight(name)).any().item()).len() - 1);
            let ids = ((arange(8) * 37 + 5) % m.config.vocab_size).unsqueeze(0);
            let before = m.capture(ids, ["post-act", "mlp-residual"], #{layers: 1});
            let after = edited.capture(ids, "mlp-residual", #{layers: 1});
            let expected = before["post-act"].matmul(change);
            if m.norms(1).post_mlp == () {
                print(((after - before["mlp-residual"] - expected).abs().max() / expected.abs().max()).item());
            }"#,
            &["--model", directory(case).to_str().unwrap()],
        )
        .ok();
        let off: Vec<f64> = ran.stdout().lines().map(|line| line.parse().unwrap()).collect();
        assert!(off.len() >= 2 && off.iter().all(|off| off.abs() <= 1e-5), "{case}: {off:?}");
    }
}

#[test]
fn rome_edit() {
    for (model, layer) in [(DEMOS[0], 0), (DEMOS[1], 0), (DEMOS[1], 1)] {
        let ran = run_with("rome_edit", model, &["--set", &format!("layer={layer}")]);
        let csv = std::fs::read_to_string(ran.file("facts.csv")).unwrap();
        let mut lines = csv.lines();
        let columns: Vec<&str> = lines.next().unwrap().split(',').collect();
        let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
        let of = |facts: &str, column: &str| -> f32 {
            let at = |name: &str| columns.iter().position(|known| *known == name).unwrap();
            let row = rows.iter().find(|row| row[at("facts")] == facts).unwrap();
            row[at(column)].parse().unwrap()
        };
        assert_eq!(
            (of("the new fact", "before"), of("the new fact", "after")),
            (0.0, 1.0),
            "{csv}"
        );
        for neighbour in ["its coin", "the other capitals", "the other coins"] {
            assert_eq!(of(neighbour, "before"), 1.0, "{model}: {csv}");
            assert!(of(neighbour, "after") >= 0.95, "{model}: {csv}");
        }
        // Without the second moment of the keys, other countries' facts change along.
        assert!(layer > 0 || of("the other capitals", "with C = 1") < 0.9, "{model}: {csv}");

        // The change is of rank one, and gives the key the whole value.
        let edit = ran.tensors("edit.safetensors");
        let (change, key, value) = (&edit["change"], flat(&edit["key"]), flat(&edit["value"]));
        let rows: Vec<Vec<f32>> = change.to_vec2().unwrap();
        let reach = value.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        for (at, value) in value.iter().enumerate() {
            let given: f32 = key.iter().zip(&rows).map(|(key, row)| key * row[at]).sum();
            assert!((given - value).abs() < 1e-4 * reach, "{model}: {given} and {value}");
        }
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
        let largest = rows.iter().max_by(|a, b| dot(a, a).total_cmp(&dot(b, b))).unwrap();
        let reach = largest.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        for row in &rows {
            let share = dot(row, largest) / dot(largest, largest);
            let off = row.iter().zip(largest).map(|(x, y)| (x - share * y).abs());
            assert!(off.fold(0.0, f32::max) < 1e-5 * reach, "{model}");
        }
    }
}
