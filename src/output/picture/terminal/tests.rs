use crate::output::picture::{Attention, Heatmap, LinePlot, Picture, Series};

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| text.to_string()).collect()
}

fn plot() -> LinePlot {
    LinePlot {
        title: "Loss".into(),
        xlabel: "step".into(),
        ylabel: "nats".into(),
        x: (0..5).map(f64::from).collect(),
        series: vec![Series { label: "train".into(), y: vec![4.0, 2.0, 1.0, 0.5, 0.0] }],
        ..Default::default()
    }
}

#[test]
fn a_line_plot_is_drawn_in_braille() {
    let expected = "
                  Loss
nats
4│⠑⢄⡀
 │  ⠈⠢⡀
 │    ⠈⠑⢄
 │       ⠑⠢⡀
2│         ⠈⠑⠒⠤⣀⡀
 │              ⠈⠉⠒⠤⢄⣀⡀
 │                    ⠈⠉⠑⠒⠒⠤⠤⣀⣀⡀
0│                             ⠈⠉⠉⠒⠒⠤⠤⢄⣀
 └──────────────────────────────────────
 0                  2                  4
                  step
  ─ train";
    assert_eq!(format!("\n{}", Picture::Line(plot()).terminal(40, false).unwrap()), expected);
}

#[test]
fn a_heatmap_is_drawn_in_shades() {
    let heatmap = Heatmap {
        title: "Norms".into(),
        xlabel: "token".into(),
        ylabel: "layer".into(),
        x: strings(&["The", " cat", "\n"]),
        y: vec![],
        values: vec![vec![0.0, 0.5, 1.0], vec![0.25, f64::NAN, 0.75]],
        ..Heatmap::default()
    };
    let expected = "
       Norms
layer
0      +++++@@@@@
1 :::::?????#####
   The ·cat   ␤
       token
  0 [ .:-=+*#%@] 1";
    assert_eq!(format!("\n{}", Picture::Heatmap(heatmap).terminal(40, false).unwrap()), expected);
}

#[test]
fn heads_stand_side_by_side() {
    let head = vec![vec![1.0, 0.0], vec![0.5, 0.5]];
    let attention = Attention {
        tokens: strings(&["a", " b"]),
        keys: strings(&["a", " b"]),
        heads: vec![head; 3],
        title: "L0".into(),
    };
    let expected = "
             L0
   head 0   head 1   head 2
 a @@       @@       @@
·b ++++     ++++     ++++
   a ·      a ·      a ·
     b        b        b
   0 [ .:-=+*#%@] 1";
    assert_eq!(
        format!("\n{}", Picture::Attention(attention).terminal(28, false).unwrap()),
        expected
    );
}

#[test]
fn colour_is_only_escapes() {
    let mut two = plot();
    two.series.push(Series { label: "test".into(), y: vec![4.0, 3.0, 2.0, 1.5, f64::NAN] });
    let coloured = Picture::Line(two.clone()).terminal(60, true).unwrap();
    assert!(coloured.contains("\x1b[38;2;0;114;178m") && coloured.contains("\x1b[38;2;213;94;0m"));
    let plain = Picture::Line(two).terminal(60, false).unwrap();
    assert!(!plain.contains('\x1b'));
    assert!(plain.contains("• train   + test"), "{plain}");
}

#[test]
fn no_line_is_wider_than_asked() {
    let long = "a very long label that no terminal has room for, 中文字 and more";
    let mut plot = plot();
    (plot.title, plot.ylabel, plot.series[0].label) = (long.repeat(3), long.repeat(3), long.into());
    let heatmap = Heatmap {
        title: long.repeat(3),
        x: vec![long.into(); 50],
        y: vec![long.into(); 2],
        values: vec![vec![-1.0; 50], vec![1.0; 50]],
        ..Default::default()
    };
    for width in [0, 1, 7, 24, 33, 80, 1000] {
        for picture in [Picture::Line(plot.clone()), Picture::Heatmap(heatmap.clone())] {
            let text = picture.terminal(width, false).unwrap();
            let widest = text.lines().map(super::super::label::width).max().unwrap_or(0);
            assert!(widest <= width, "{widest} columns of {width}:\n{text}");
        }
    }
}
