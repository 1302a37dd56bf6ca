//! Any sequence of operations on a padded batch gives, row by row, what the texts alone give.

use std::fmt::Write;

use precompute::checkpoint::{Checkpoint, OpenOptions};
use proptest::prelude::*;

use crate::fixture::directory;
use crate::run::script;

/// Learned positions, rotary ones, and a bias by distance.
const FAMILIES: [&str; 3] = ["opt", "gpt-neox", "bloom"];
const TEXTS: [&str; 3] = ["The cat sat on the mat", "A dog", "Some words and then"];
const MOST_ROWS: usize = 6;
const MOST_TOKENS: usize = 30;

/// A token id, and whether it is real.
type Token = (i64, bool);
type Batch = Vec<Vec<Token>>;

/// One operation: which, and numbers that choose among its arguments.
type Step = (usize, usize, usize, usize);

/// The batch after an operation, and the operation in a script; nothing where it would leave a row
/// without a token.
fn step(batch: &Batch, (which, i, j, k): Step, vocabulary: i64) -> Option<(Batch, String)> {
    let (b, n) = (batch.len(), batch[0].len());
    let columns = |from: usize, to: usize| -> Batch {
        batch.iter().map(|row| row[from..to].to_vec()).collect()
    };
    let rows =
        |places: &[usize]| -> Batch { places.iter().map(|&row| batch[row].clone()).collect() };
    let listed = |places: &[usize]| format!("{places:?}");
    let rolled = |row: &Vec<Token>| {
        let mut row = row.clone();
        row.rotate_right(j % n);
        row
    };
    let (row, other, column) = (i % b, j % b, k % n);
    let picks = [row, other, (i + k) % b];
    let start = (i % n).min(n - 1);
    let end = start + 1 + j % (n - start);
    let (made, code) = match which {
        0 => (rows(&(row..b).collect::<Vec<_>>()), format!("ids = ids[{row}..];")),
        1 => (columns(start, end), format!("ids = ids[[.., {start}..{end}]];")),
        2 => (rows(&picks), format!("ids = ids[[{}]];", listed(&picks))),
        3 => (rows(&picks), format!("ids = ids.index_select(0, tensor({}));", listed(&picks))),
        4 => (columns(start, end), format!("ids = ids.narrow(-1, {start}, {});", end - start)),
        5 => (batch.iter().rev().cloned().collect(), "ids = ids.flip(0);".into()),
        6 => (
            batch.iter().map(|row| row.iter().rev().copied().collect()).collect(),
            "ids = ids.flip(1);".into(),
        ),
        7 => (batch.iter().map(rolled).collect(), format!("ids = ids.roll({}, 1);", j % n)),
        8 => (
            rows(&(0..b).map(|at| (at + b - 1) % b).collect::<Vec<_>>()),
            "ids = ids.roll(1, 0);".into(),
        ),
        9 => (
            rows(&(0..2 * b).map(|at| at % b).collect::<Vec<_>>()),
            "ids = ids.repeat(2, 1);".into(),
        ),
        10 => (
            rows(&(0..2 * b).map(|at| at / 2).collect::<Vec<_>>()),
            "ids = ids.repeat_interleave(2, 0);".into(),
        ),
        11 => {
            let made = [rows(&(0..b).collect::<Vec<_>>()), rows(&[row])].concat();
            (made, format!("ids = cat([ids, ids[{row}..{}]]);", row + 1))
        }
        12 => {
            let made =
                batch.iter().map(|row| [row.as_slice(), &row[start..end]].concat()).collect();
            (made, format!("ids = cat([ids, ids[[.., {start}..{end}]]], 1);"))
        }
        13 => (
            batch.clone(),
            "let rows = []; for row in ids { rows.push(row); } ids = stack(rows.map(|row| row));"
                .into(),
        ),
        14 => (
            batch.clone(),
            format!("ids = ids.flatten().reshape({b}, -1).to(\"u32\").copy().to(\"i64\");"),
        ),
        15 => (
            batch.clone(),
            "ids = ids.transpose(0, 1).unsqueeze(0).permute(2, 1, 0).squeeze(2);".into(),
        ),
        16 => (rows(&[other]), format!("ids = ids[{other}].unsqueeze(0);")),
        17 => (
            rows(&[other, other]),
            format!("ids = ids.select(0, {other}).reshape(1, {n}).expand(2, -1);"),
        ),
        18 => {
            let kept: Vec<usize> = (0..b).filter(|at| (i >> at) & 1 == 0).collect();
            let mask: Vec<bool> = (0..b).map(|at| kept.contains(&at)).collect();
            if kept.is_empty() {
                return None;
            }
            (rows(&kept), format!("ids = ids[tensor({mask:?})];"))
        }
        19 => {
            // A patched token keeps its mask.
            let (mut made, token) = (batch.clone(), (i as i64) % vocabulary);
            made[other][column].0 = token;
            (made, format!("ids[[{other}, {column}]] = {token};"))
        }
        20 => {
            let mut made = batch.clone();
            made[row] = batch[other].clone();
            (made, format!("ids[{row}] = ids[{other}];"))
        }
        21 => {
            let by = (k as i64) % vocabulary;
            let moved = |&(id, real): &Token| ((id + by) % vocabulary, real);
            let made = batch.iter().map(|row| row.iter().map(moved).collect()).collect();
            (made, format!("ids = (ids + {by}) % {vocabulary};"))
        }
        22 => {
            let made =
                (0..b).map(|at| batch[if at == row { b - 1 - at } else { at }].clone()).collect();
            (made, format!("ids = where(arange({b}).unsqueeze(1) == {row}, ids.flip(0), ids);"))
        }
        23 => {
            let made = (0..b).map(|at| [&batch[at][end..], &batch[at][..end]].concat()).collect();
            (
                made,
                format!(
                    "let parts = ids.split([{end}, {}], 1); ids = cat([parts[1], parts[0]], 1);",
                    n - end
                ),
            )
        }
        24 => {
            let made = rows(&picks);
            let places: Vec<Vec<usize>> = picks.iter().map(|&pick| vec![pick; n]).collect();
            (made, format!("ids = ids.gather(0, tensor({places:?}));"))
        }
        _ => (
            batch.clone(),
            "let ctx = context(); ctx.kept = ids; ids = ctx.kept; ids += 0; ids = ids * 1;".into(),
        ),
    };
    let fits = made.len() <= MOST_ROWS && made[0].len() <= MOST_TOKENS;
    let whole = made.iter().all(|row| row.iter().any(|(_, real)| *real));
    (fits && whole).then_some((made, code))
}

/// A script that compares the batch with its texts alone: it prints whether ids and mask are as
/// expected, whether what is generated is, and by how much logits and losses are off.
fn comparison(family: &str, left: bool, steps: &[String], batch: &Batch) -> String {
    let ids: Vec<Vec<i64>> =
        batch.iter().map(|row| row.iter().map(|token| token.0).collect()).collect();
    let mask: Vec<Vec<bool>> =
        batch.iter().map(|row| row.iter().map(|token| token.1).collect()).collect();
    let pairs = |row: &Vec<Token>| row.windows(2).filter(|pair| pair[0].1 && pair[1].1).count();
    let targets: usize = batch.iter().map(pairs).sum();
    let side = if left { "left" } else { "right" };
    let mut code = format!(
        "let m = model({:?});\nlet ids = m.encode({TEXTS:?}, #{{pad: {side:?}}});\n{}\n\
         print(ids.to_array() == {ids:?});\nprint(ids.mask.to_array() == {mask:?});\n\
         let off = 0.0;\nlet same = true;\nlet total = 0.0;\nlet out = m.forward(ids, #{{loss: {}}});\n\
         let more = m.generate(ids, #{{max_new_tokens: 2, ignore_eos: true}}).ids;\n",
        directory(family).display().to_string(),
        steps.join("\n"),
        targets > 0,
    );
    for (at, row) in batch.iter().enumerate() {
        let places: Vec<usize> = (0..row.len()).filter(|&place| row[place].1).collect();
        let text: Vec<i64> = places.iter().map(|&place| row[place].0).collect();
        let alone = format!("tensor([{text:?}])");
        let loss = text.len() > 1;
        writeln!(code, "let alone = m.forward({alone}, #{{loss: {loss}}});").unwrap();
        writeln!(
            code,
            "off = max(off, (out.logits[[{at}, {places:?}]] - alone.logits[0]).abs().max().item());"
        )
        .unwrap();
        writeln!(code, "same = same && (more[[{at}, -2..]] == m.generate({alone}, #{{max_new_tokens: 2, ignore_eos: true}}).ids[[0, -2..]]).all().item();").unwrap();
        for (of, pair) in places.windows(2).enumerate().filter(|(_, pair)| pair[1] == pair[0] + 1) {
            writeln!(code, "let l = alone.unreduced_loss[[0, {of}]]; total += l.item(); off = max(off, (out.unreduced_loss[[{at}, {}]] - l).abs().item());", pair[0]).unwrap();
        }
    }
    if targets > 0 {
        writeln!(code, "off = max(off, (out.loss.item() - total / {targets}.0).abs());").unwrap();
        writeln!(
            code,
            "off = max(off, (out.unreduced_loss.sum().item() - total).abs() / {targets}.0);"
        )
        .unwrap();
        writeln!(code, "same = same && out.targets == {targets};").unwrap();
    }
    code + "print(same);\nprint(off);\n"
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_operations_on_a_padded_batch_give_what_the_texts_alone_give(
        family in 0..FAMILIES.len(),
        left in any::<bool>(),
        steps in prop::collection::vec((0usize..26, 0usize..1000, 0usize..1000, 0usize..1000), 1..8),
    ) {
        let family = FAMILIES[family];
        let checkpoint = Checkpoint::open(directory(family).to_str().unwrap(), &OpenOptions::default()).unwrap();
        let vocabulary = checkpoint.config["vocab_size"].as_i64().unwrap();
        let tokenizer = checkpoint.tokenizer().unwrap();
        let texts = TEXTS.map(|text| tokenizer.encode(text, true).unwrap());
        let longest = texts.iter().map(Vec::len).max().unwrap();
        let padded = |text: &Vec<u32>| {
            let padding = vec![(i64::from(tokenizer.pad_id()), false); longest - text.len()];
            let text: Vec<Token> = text.iter().map(|&id| (i64::from(id), true)).collect();
            if left { [padding, text].concat() } else { [text, padding].concat() }
        };
        let mut batch: Batch = texts.iter().map(padded).collect();
        let mut codes = Vec::new();
        for one in steps {
            if let Some((made, code)) = step(&batch, one, vocabulary) {
                batch = made;
                codes.push(code);
            }
        }
        let ran = script(&comparison(family, left, &codes, &batch), &[]);
        let said = ran.stdout();
        prop_assert!(ran.output.status.success(), "{family}, {codes:#?}:\n{}", ran.stderr());
        let lines: Vec<&str> = said.lines().collect();
        prop_assert_eq!(&lines[..3], &["true", "true", "true"], "{}, {:#?}", family, codes);
        let off: f64 = lines[3].parse().unwrap();
        prop_assert!(off < 2e-4, "{family}, {codes:#?}: off by {off}");
    }
}
