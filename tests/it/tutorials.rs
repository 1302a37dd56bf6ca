//! The tutorials: recipes whose comments are Markdown, and with the code between them a page in
//! scripts/gallery. What the page says is what the recipe does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};

use crate::binary::{Ran, Workplace, script};
use crate::fixture::directory;
use crate::hub_server::HubServer;

/// Those whose pages have been made.
const TUTORIALS: [&str; 2] = ["diffusion", "spectral_analysis"];

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts")
}

fn text(name: &str) -> String {
    std::fs::read_to_string(scripts().join(format!("{name}.rhai"))).unwrap()
}

fn folder(name: &str) -> PathBuf {
    scripts().join("gallery").join(name)
}

/// The rows of a .csv, the names of its columns first.
fn rows(path: &Path) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_path(path).unwrap();
    reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
}

/// The part of a tutorial after its header, as paragraphs: whether it is prose, and its lines.
/// Prose is a paragraph of comments alone; a comment that stands directly on code is part of that.
fn paragraphs(text: &str) -> Vec<(bool, Vec<&str>)> {
    let lines: Vec<&str> = text.lines().skip_while(|line| line.starts_with("//!")).collect();
    let paragraphs = lines.split(|line| line.is_empty()).filter(|lines| !lines.is_empty());
    paragraphs.map(|all| (all.iter().all(|line| line.starts_with("//")), all.to_vec())).collect()
}

/// A line of prose as Markdown.
fn markdown(line: &str) -> &str {
    line.strip_prefix("// ").unwrap_or_else(|| line.strip_prefix("//").unwrap())
}

/// The file that a line which is nothing but a link to a .csv names.
fn linked_table(line: &str) -> Option<&str> {
    let (_, file) = line.strip_prefix('[')?.strip_suffix(')')?.split_once("](")?;
    file.ends_with(".csv").then_some(file)
}

/// A cell with four significant digits.
fn cell(text: &str) -> String {
    let number = text.parse::<f64>().ok().filter(|_| text.contains('.'));
    let Some(x) = number.filter(|x| *x != 0.0) else { return text.replace('|', "\\|") };
    let decimals = (3 - x.abs().log10().floor() as i32).clamp(0, 8) as usize;
    format!("{x:.decimals$}")
}

fn table(path: &Path) -> String {
    let mut all = rows(path).into_iter();
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let names = all.next().unwrap();
    let rule = line(vec!["---".to_owned(); names.len()]);
    let body = all.map(|row| line(row.iter().map(|text| cell(text)).collect()));
    [line(names), rule].into_iter().chain(body).collect()
}

/// The page of a tutorial: its prose, its code, and in the place of a link to a table the table.
fn page(name: &str) -> String {
    let mut page = format!(
        "<!-- Written from scripts/{name}.rhai by PRECOMPUTE_BLESS=1 cargo test --test it tutorials -->\n"
    );
    let text = text(name);
    let mut in_code = false;
    for (is_prose, lines) in paragraphs(&text) {
        match (in_code, is_prose) {
            (true, true) => page += "```\n\n",
            (false, false) => page += "\n```rhai\n",
            (true, false) => page += "\n",
            (false, true) => page += "\n",
        }
        in_code = !is_prose;
        for line in lines {
            match (is_prose, is_prose.then(|| linked_table(markdown(line))).flatten()) {
                (_, Some(file)) => page += &table(&folder(name).join(file)),
                (true, None) => page += &format!("{}\n", markdown(line)),
                (false, None) => page += &format!("{line}\n"),
            }
        }
    }
    page + if in_code { "```\n" } else { "" }
}

/// PRECOMPUTE_BLESS=1 writes the pages.
#[test]
fn the_pages_are_those_of_the_scripts() {
    for name in TUTORIALS {
        let path = folder(name).join("README.md");
        let page = page(name);
        if std::env::var_os("PRECOMPUTE_BLESS").is_some() {
            std::fs::write(&path, &page).unwrap();
        }
        assert!(
            std::fs::read_to_string(&path).unwrap() == page,
            "scripts/gallery/{name}/README.md is not what scripts/{name}.rhai says: \
             PRECOMPUTE_BLESS=1 cargo test --test it tutorials writes it anew"
        );
        let targets = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.starts_with("http")) {
            assert!(folder(name).join(target).exists(), "{name} leads to {target}");
        }
    }
}

/// The numbers with a decimal point in a text.
fn decimals(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_ascii_digit() && c != '.');
    let words = words.map(|word| word.trim_matches('.').to_owned());
    words.filter(|word| word.contains('.') && word.parse::<f64>().is_ok()).collect()
}

/// Every number with a decimal point that the prose gives is one in the tables of the run whose
/// pictures are shown, rounded; or one of the script.
#[test]
fn numbers_in_the_prose_are_those_of_the_run() {
    for name in TUTORIALS {
        let files = std::fs::read_dir(folder(name)).unwrap().map(|entry| entry.unwrap().path());
        let tables = files.filter(|path| path.extension().is_some_and(|ending| ending == "csv"));
        let measured: Vec<f64> = tables
            .flat_map(|path| rows(&path).concat())
            .filter_map(|cell| cell.parse().ok())
            .collect();
        let text = text(name);
        let (prose, code): (Vec<_>, Vec<_>) =
            paragraphs(&text).into_iter().partition(|(is_prose, _)| *is_prose);
        let joined = |part: Vec<(bool, Vec<&str>)>| {
            part.into_iter().map(|(_, lines)| lines.join("\n")).collect::<Vec<_>>().join("\n")
        };
        let (prose, code) = (joined(prose), decimals(&joined(code)));
        let plain: String = prose.split('`').step_by(2).collect();
        let mut found = 0;
        for number in decimals(&plain) {
            let places = number.split_once('.').unwrap().1.len();
            let is_one = |x: &f64| format!("{:.places$}", x.abs()) == number;
            assert!(
                measured.iter().any(is_one) || code.contains(&number),
                "{name} says {number}, which no table of its run has"
            );
            found += 1;
        }
        assert!(found >= 5, "{name}: {found}");
    }
}

/// Two tokens that are +1 and -1 of one coordinate: the best guess is known, so the bound must be
/// ln 2, and the way back from noise must end at the two.
#[test]
fn the_bound_of_a_perfect_denoiser_is_the_entropy() {
    let ran = script(
        r#"
        import "lib/diffusion" as diffusion;
        seed(1);
        let schedule = #{high: 6.0, low: -6.0};
        let guess = |z, t| {
            let l = diffusion::log_snr(schedule, t);
            (l.sigmoid().sqrt() / (-l).sigmoid() * z).tanh()
        };
        let b = 20000;
        let x = (rand([b, 1, 1]) < 0.5).to("f32") * 2.0 - 1.0;
        let t = diffusion::times(b, "cpu");
        let z = diffusion::add_noise(schedule, x, t);
        let cost = diffusion::cost_of_guess(schedule, x, guess.call(z, t), t) + diffusion::left_in_noise(schedule, x);
        print(cost.mean().item());
        print((z * z).mean().item());
        let z = randn([b / 10, 1, 1]);
        for i in 0..40 {
            let t = full([b / 10], 1.0 - i / 40.0);
            z = diffusion::step_back(schedule, z, guess.call(z, t), t, full([b / 10], 1.0 - (i + 1) / 40.0));
        }
        print((z.abs() - 1.0).abs().mean().item());
        print(z.mean().item());
        let gone = diffusion::hide([b, 4], full([b], 0.25));
        print(gone.to("f32").mean().item());
        print(diffusion::show(gone, full([b], 0.75), full([b], 0.5)).to("f32").sum().item() / gone.to("f32").sum().item());
        "#,
    );
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let numbers: Vec<f64> = ran.stdout.lines().map(|line| line.parse().unwrap()).collect();
    let expected = [
        (2_f64.ln(), 0.02),
        (1.0, 0.03),
        (0.0, 0.08),
        (0.0, 0.06),
        (0.25, 0.01),
        (1.0 / 3.0, 0.01),
    ];
    for (number, (expected, tolerance)) in numbers.iter().zip(expected) {
        assert!((number - expected).abs() < tolerance, "{numbers:?}");
    }
    assert_eq!(numbers.len(), 6);
}

const SMALL: [&str; 6] = ["steps=4", "batch=2", "length=6", "texts=2", "judged=1", "sampling=1"];

fn diffusion(place: &Workplace, out: &str, more: &[&str]) -> BTreeMap<String, Tensor> {
    let recipe = scripts().join("diffusion.rhai").display().to_string();
    let mut arguments = vec!["run", &recipe, "--out", out, "--seed", "1", "--read", "."];
    for set in SMALL.iter().chain(more) {
        arguments.extend(["--set", *set]);
    }
    let ran = place.run(&arguments);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let path = place.path().join(out).join("state.safetensors");
    candle_core::safetensors::load(path, &Device::Cpu).unwrap().into_iter().collect()
}

fn flat(t: &Tensor) -> Vec<f64> {
    t.flatten_all().unwrap().to_dtype(candle_core::DType::F64).unwrap().to_vec1().unwrap()
}

/// Training that stops and goes on is training that does not stop, to the last bit.
#[test]
fn the_diffusion_model_is_trained_in_sittings() {
    let place = Workplace::new(&[]);
    let whole = diffusion(&place, "whole", &[]);
    diffusion(&place, "first", &["stop=2"]);
    let rest = diffusion(&place, "rest", &["resume=first/state.safetensors"]);
    assert_eq!(whole.keys().collect::<Vec<_>>(), rest.keys().collect::<Vec<_>>());
    for (name, tensor) in &whole {
        assert_eq!(flat(tensor), flat(&rest[name]), "{name}");
    }
    for noise in ["gaussian", "mask"] {
        let losses = flat(&whole[&format!("{noise}.losses")]);
        assert!(
            losses.len() == 4 && losses.iter().all(|loss| loss.is_finite()),
            "{noise}: {losses:?}"
        );
        assert_eq!(flat(&whole[&format!("{noise}.optimiser.step")]), [4.0]);
    }
    // The rows are the same too, so what was trained is what was measured.
    for table in ["bounds.csv", "quality.csv", "samples.csv"] {
        assert_eq!(
            rows(&place.path().join("whole").join(table)),
            rows(&place.path().join("rest").join(table))
        );
    }
}

fn spectral_analysis(
    place: &Workplace,
    hub: Option<&HubServer>,
    model: &str,
    more: &[&str],
) -> Ran {
    let recipe = scripts().join("spectral_analysis.rhai").display().to_string();
    // `--model` would take the place of checkpoints too.
    let model = format!("model={model}");
    let mut arguments = vec!["run", &recipe, "--set", &model, "--out", "out", "--seed", "1"];
    for set in ["count=2", "length=12", "train=1"].iter().chain(more) {
        arguments.extend(["--set", *set]);
    }
    let mut command = place.command(&arguments);
    if let Some(hub) = hub {
        command.env_remove("HF_HUB_OFFLINE").env_remove("HF_TOKEN").env_remove("HF_HUB_CACHE");
        command.env("HF_ENDPOINT", hub.address()).env("NO_PROXY", "127.0.0.1");
    }
    let ran: Ran = command.output().unwrap().into();
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    ran
}

/// A table of a run, by the first cell of each row and the name of the column.
fn cells(place: &Workplace, file: &str) -> BTreeMap<(String, String), f64> {
    let rows = rows(&place.path().join("out").join(file));
    let mut cells = BTreeMap::new();
    for row in &rows[1..] {
        for (name, cell) in rows[0].iter().zip(row).skip(1) {
            cells.insert((row[0].clone(), name.clone()), cell.parse().unwrap());
        }
    }
    cells
}

#[test]
fn slopes_are_those_of_the_spectra_and_filters_that_let_all_through_change_nothing() {
    let place = Workplace::new(&[]);
    spectral_analysis(&place, None, "demo:opt", &[]);
    let path = place.path().join("out/spectra.safetensors");
    let spectra = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
    let slopes = cells(&place, "slopes.csv");
    let x: Vec<f64> = flat(&spectra["frequencies"]).into_iter().map(f64::ln).collect();
    for which in ["trained", "random"] {
        let power = flat(&spectra[which].get(4).unwrap());
        let y: Vec<f64> = power.into_iter().map(f64::ln).collect();
        let n = x.len() as f64;
        let (mx, my) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
        let sum = |f: &dyn Fn(f64, f64) -> f64| {
            x.iter().zip(&y).map(|(x, y)| f(x - mx, y - my)).sum::<f64>()
        };
        let (xx, xy, yy) = (sum(&|x, _| x * x), sum(&|x, y| x * y), sum(&|_, y| y * y));
        let cell =
            |column: &str| slopes[&("after block 3".to_owned(), format!("{column}, {which}"))];
        assert!((cell("slope") - xy / xx).abs() < 1e-3, "{which}: {} {}", cell("slope"), xy / xx);
        assert!((cell("R²") - xy * xy / (xx * yy)).abs() < 1e-3, "{which}: {}", cell("R²"));
    }
    let (filters, cutoffs) = (cells(&place, "filters.csv"), cells(&place, "cutoffs.csv"));
    let at = |cutoff: &str, filter: &str| cutoffs[&(cutoff.to_owned(), filter.to_owned())];
    let plain = filters[&("trained".to_owned(), "loss".to_owned())];
    for all in [at("0.51", "low-pass"), at("0.0", "high-pass")] {
        assert!((all - plain).abs() < 1e-3, "{all} {plain}");
    }
    // Without attention the model is worse, whichever filter takes all of it away.
    let none = at("0.0", "low-pass");
    assert!(none > plain + 0.3 && (none - at("0.51", "high-pass")).abs() < 1e-3, "{none} {plain}");
}

/// Two revisions of one model on the Hub give what their directories give.
#[test]
fn spectra_over_training_steps_come_from_revisions() {
    let hub = HubServer::start(&["opt"]);
    let here = Workplace::new(&[]);
    let later = directory("opt").display().to_string();
    here.write(
        "s.rhai",
        b"model(param(\"from\", \"\")).reset_weights(#{seed: 5}).save(\"earlier\");",
    );
    let ran = here.run(&["run", "s.rhai", "--set", &format!("from={later}"), "--out", "made"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let earlier = here.path().join("made/earlier");
    hub.edit("tiny/opt", |files| {
        files.remove("pytorch_model.bin");
        files.insert(
            "model.safetensors".into(),
            std::fs::read(earlier.join("model.safetensors")).unwrap(),
        );
    });
    let slopes = |place: &Workplace| -> Vec<f64> {
        let rows = rows(&place.path().join("out/training.csv"));
        let column = rows[0].iter().position(|name| name == "slope").unwrap();
        rows[1..].iter().map(|row| row[column].parse().unwrap()).collect()
    };
    spectral_analysis(&here, Some(&hub), "tiny/opt", &["checkpoints=tiny/opt@main,tiny/opt@v1"]);
    let of_revisions = slopes(&here);
    let directories = format!("checkpoints={},{later}", earlier.display());
    spectral_analysis(&here, None, &earlier.display().to_string(), &[&directories]);
    assert_eq!(of_revisions, slopes(&here));
    assert!((of_revisions[0] - of_revisions[1]).abs() > 1e-3, "{of_revisions:?}");
}
