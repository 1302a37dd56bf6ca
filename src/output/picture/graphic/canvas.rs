//! The surface that pictures are drawn on, with lines, boxes and text. It produces SVG or pixels.

use std::sync::OnceLock;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontTransform, register_font};

use crate::output::picture::colour::{PAPER, Rgb};
use crate::output::picture::label::width as columns_of;
use crate::{Result, error};

/// A picture that has been laid out.
pub(in crate::output::picture) trait Draw {
    /// Width and height in units.
    fn size(&self) -> (i32, i32);
    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()>;
}

/// A drawing surface. One unit is one pixel of the SVG.
pub(in crate::output::picture) struct Canvas<DB: DrawingBackend> {
    area: DrawingArea<DB, Shift>,
    /// Pixels per unit.
    scale: i32,
    /// Whether the backend draws pixels, and text with the fonts in this binary. In an SVG the
    /// viewer draws the text with its own fonts.
    pixels: bool,
}

/// The size and colour of a text, and how it is aligned to the point at which it is drawn.
#[derive(Clone, Copy)]
pub(in crate::output::picture) struct Type {
    /// Font size in units.
    pub size: f64,
    /// Colour of the letters.
    pub colour: Rgb,
    /// Horizontal alignment.
    pub across: HPos,
    /// Vertical alignment.
    pub down: VPos,
    /// Turned by 90°, to be read from bottom to top.
    pub upwards: bool,
    /// In the monospace font, which has more characters than the proportional one.
    pub mono: bool,
}

impl Type {
    /// Proportional, from left to right, starting at its point and vertically centred on it.
    pub fn new(size: f64, colour: Rgb) -> Self {
        Self { size, colour, across: HPos::Left, down: VPos::Center, upwards: false, mono: false }
    }

    /// With this horizontal alignment.
    pub fn across(self, across: HPos) -> Self {
        Self { across, ..self }
    }

    /// With this vertical alignment.
    pub fn down(self, down: VPos) -> Self {
        Self { down, ..self }
    }

    /// To be read from bottom to top.
    pub fn upwards(self) -> Self {
        Self { upwards: true, ..self }
    }

    /// In the monospace font.
    pub fn mono(self) -> Self {
        Self { mono: true, ..self }
    }

    fn family(&self, text: &str) -> &'static str {
        // The proportional font lacks arrows, superscripts and other symbols.
        if self.mono || text.chars().any(|c| c > '\u{17f}') { "monospace" } else { "sans-serif" }
    }

    /// The approximate width of `text` in units.
    pub fn width(&self, text: &str) -> i32 {
        fonts();
        let font = (self.family(text), self.size).into_font();
        font.box_size(text).map_or(0, |(width, _)| width as i32)
    }

    /// The approximate width of the widest of some labels, which are monospaced: measuring takes long,
    /// and only the longest is measured.
    pub fn widest(&self, labels: &[String]) -> i32 {
        labels
            .iter()
            .max_by_key(|label| columns_of(label))
            .map_or(0, |label| self.mono().width(label))
    }
}

/// The picture as an SVG document.
pub(in crate::output::picture) fn svg(picture: &impl Draw) -> Result<String> {
    let mut text = String::new();
    let (width, height) = picture.size();
    paint(SVGBackend::with_string(&mut text, (width as u32, height as u32)), picture, 1, false)?;
    Ok(text)
}

/// The picture as the bytes of a PNG.
pub(in crate::output::picture) fn png(picture: &impl Draw) -> Result<Vec<u8>> {
    const SCALE: i32 = 2;
    let (width, height) = picture.size();
    // plotters writes PNG only to files.
    let directory =
        tempfile::tempdir().map_err(|e| error!("no temporary directory for the PNG: {e}"))?;
    let path = directory.path().join("picture.png");
    let backend = BitMapBackend::new(&path, ((width * SCALE) as u32, (height * SCALE) as u32));
    paint(backend, picture, SCALE, true)?;
    std::fs::read(&path).map_err(|e| error!("the PNG cannot be read back: {e}"))
}

fn paint<DB: DrawingBackend>(
    backend: DB,
    picture: &impl Draw,
    scale: i32,
    pixels: bool,
) -> Result<()> {
    fonts();
    let canvas = Canvas { area: backend.into_drawing_area(), scale, pixels };
    let (width, height) = picture.size();
    canvas.fill((0, 0), (width, height), PAPER)?;
    picture.draw(&canvas)?;
    canvas.area.present().map_err(|e| error!("the picture cannot be finished: {e}"))
}

/// Registers the fonts in this binary with plotters, once: the machine may have none.
fn fonts() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        // These fonts are valid. If one were not, drawing would report that the font is missing.
        let _ = register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT);
        let _ = register_font("monospace", FontStyle::Normal, epaint_default_fonts::HACK_REGULAR);
    });
}

impl<DB: DrawingBackend> Canvas<DB> {
    fn at(&self, (x, y): (i32, i32)) -> (i32, i32) {
        (x * self.scale, y * self.scale)
    }

    /// Fills a box with `colour`.
    pub fn fill(&self, from: (i32, i32), to: (i32, i32), colour: Rgb) -> Result<()> {
        self.put(&Rectangle::new([self.at(from), self.at(to)], plain(colour).filled()))
    }

    /// Draws the outline of a box.
    pub fn frame(
        &self,
        (left, top): (i32, i32),
        (right, bottom): (i32, i32),
        colour: Rgb,
    ) -> Result<()> {
        let corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)];
        self.stroke(&corners.map(|(x, y)| (f64::from(x), f64::from(y))), 1, colour)
    }

    /// Draws a line through `points`, `width` units wide.
    pub fn stroke(&self, points: &[(f64, f64)], width: i32, colour: Rgb) -> Result<()> {
        let scale = f64::from(self.scale);
        let mut pixels: Vec<(i32, i32)> = points
            .iter()
            .map(|&(x, y)| ((x * scale).round() as i32, (y * scale).round() as i32))
            .collect();
        pixels.dedup();
        self.put(&PathElement::new(pixels, plain(colour).stroke_width((width * self.scale) as u32)))
    }

    /// Draws a filled circle.
    pub fn dot(&self, (x, y): (f64, f64), radius: f64, colour: Rgb) -> Result<()> {
        let scale = f64::from(self.scale);
        let centre = ((x * scale).round() as i32, (y * scale).round() as i32);
        self.put(&Circle::new(centre, (radius * scale).round() as i32, plain(colour).filled()))
    }

    /// Draws one line of text.
    pub fn text(&self, text: &str, at: (i32, i32), kind: Type) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let text = if self.pixels { drawn(text) } else { text.to_owned() };
        let turn = if kind.upwards { FontTransform::Rotate270 } else { FontTransform::None };
        let size = kind.size * f64::from(self.scale);
        let font = (kind.family(&text), size).into_font().transform(turn);
        let colour = plain(kind.colour);
        let style = TextStyle::from(font).color(&colour).pos(Pos::new(kind.across, kind.down));
        let (x, y) = self.at(at);
        // plotters draws text higher about its point in pixels than in SVG.
        let lower = if self.pixels { (0.13 * size).round() as i32 } else { 0 };
        self.put(&Text::new(
            text,
            if kind.upwards { (x + lower, y) } else { (x, y + lower) },
            style,
        ))
    }

    fn put<'a, E>(&self, element: &'a E) -> Result<()>
    where
        E: plotters::element::Drawable<DB>,
        &'a E: plotters::element::PointCollection<'a, (i32, i32)>,
    {
        self.area.draw(element).map_err(|e| error!("the picture cannot be drawn: {e}"))
    }
}

/// `text` with the symbols for control characters that the fonts lack replaced by others that they
/// have.
fn drawn(text: &str) -> String {
    let other = |c| match c {
        '␤' => '↵',
        '␉' => '⇥',
        '␀'..='␡' => '¤',
        c => c,
    };
    text.chars().map(other).collect()
}

fn plain((r, g, b): Rgb) -> RGBColor {
    RGBColor(r, g, b)
}

#[cfg(test)]
pub(in crate::output::picture) mod tests {
    use super::*;

    /// The pixels of `picture`, three bytes each, and the number of bytes in a row.
    pub fn pixels(picture: &impl Draw) -> (Vec<u8>, usize) {
        let (width, height) = picture.size();
        let mut bytes = vec![0; (width * height * 3) as usize];
        paint(
            BitMapBackend::with_buffer(&mut bytes, (width as u32, height as u32)),
            picture,
            1,
            true,
        )
        .unwrap();
        (bytes, width as usize * 3)
    }

    struct Word(&'static str);

    impl Draw for Word {
        fn size(&self) -> (i32, i32) {
            (120, 40)
        }

        fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()> {
            canvas.text(self.0, (10, 20), Type::new(20.0, (0, 0, 0)))
        }
    }

    #[test]
    fn text_appears_among_the_pixels() {
        let dark = |word| pixels(&Word(word)).0.chunks(3).filter(|pixel| pixel[0] < 128).count();
        assert_eq!(dark(""), 0);
        assert!(dark("W") > 10);
        assert!(dark("WWW") > 2 * dark("W"));
        assert!(dark("→→") > 5, "the wider face has arrows");
    }

    #[test]
    fn a_png_is_encoded() {
        let bytes = png(&Word("W")).unwrap();
        assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
        assert_eq!(&bytes[12..24], b"IHDR\0\0\0\xf0\0\0\0\x50");
        assert_eq!(&bytes[bytes.len() - 8..bytes.len() - 4], b"IEND");
    }

    #[test]
    fn text_is_escaped_in_svg() {
        assert!(svg(&Word("<a & b>")).unwrap().contains("&lt;a &amp; b&gt;"));
    }
}
