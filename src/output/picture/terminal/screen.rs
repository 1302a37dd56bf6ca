//! A grid of styled characters that becomes lines of text.

use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Style};
use ratatui_core::widgets::Widget;

use crate::output::picture::colour::Rgb;

/// The smallest and the largest width that is drawn. A narrower terminal gets lines that are cut.
pub(super) const WIDTHS: (usize, usize) = (24, 400);

/// A grid of styled characters.
pub(super) struct Screen {
    buffer: Buffer,
}

impl Screen {
    /// An empty grid.
    pub fn new(width: usize, height: usize) -> Self {
        let most = usize::from(u16::MAX);
        Self {
            buffer: Buffer::empty(Rect::new(
                0,
                0,
                width.min(WIDTHS.1) as u16,
                height.min(most) as u16,
            )),
        }
    }

    /// Its width in columns.
    pub fn width(&self) -> usize {
        usize::from(self.buffer.area.width)
    }

    /// Writes `text` at column `x` of row `y`; what lies outside of the grid is cut.
    pub fn text(&mut self, x: usize, y: usize, text: &str, style: Style) {
        if x < self.width() && y < usize::from(self.buffer.area.height) {
            self.buffer.set_stringn(x as u16, y as u16, text, self.width() - x, style);
        }
    }

    /// Writes `text` centred between two columns.
    pub fn centred(&mut self, (from, to): (usize, usize), y: usize, text: &str, style: Style) {
        let width = super::super::label::width(text);
        self.text(from + to.saturating_sub(from).saturating_sub(width) / 2, y, text, style);
    }

    /// Draws a ratatui widget over the whole width, from row `y` down.
    pub fn widget(&mut self, widget: impl Widget, y: usize, height: usize) {
        let area = Rect::new(0, y as u16, self.buffer.area.width, height as u16)
            .intersection(self.buffer.area);
        widget.render(area, &mut self.buffer);
    }

    /// The grid as lines without trailing spaces, each cut to `width` columns.
    pub fn lines(&self, width: usize, colour: bool) -> String {
        let rows = 0..self.buffer.area.height;
        let lines = rows.map(|y| self.line(y, width.min(self.width()) as u16, colour));
        lines.collect::<Vec<_>>().join("\n").trim_end().to_owned()
    }

    fn line(&self, y: u16, width: u16, colour: bool) -> String {
        let plain = (Color::Reset, Color::Reset);
        let (mut line, mut now) = (String::new(), plain);
        let mut x = 0;
        while x < width {
            let cell = &self.buffer[(x, y)];
            let wide = super::super::label::width(cell.symbol()).max(1) as u16;
            if colour && (cell.fg, cell.bg) != now {
                now = (cell.fg, cell.bg);
                line.push_str("\x1b[0m");
                line.push_str(&escape(now.0, 38));
                line.push_str(&escape(now.1, 48));
            }
            line.push_str(if x + wide > width { " " } else { cell.symbol() });
            x += wide;
        }
        if now == plain {
            line.truncate(line.trim_end_matches(' ').len());
            line
        } else {
            line + "\x1b[0m"
        }
    }
}

/// The escape sequence that sets the foreground (38) or the background (48) colour.
fn escape(colour: Color, which: u8) -> String {
    match colour {
        Color::Rgb(r, g, b) => format!("\x1b[{which};2;{r};{g};{b}m"),
        _ => String::new(),
    }
}

/// The colour as ratatui has it.
pub(super) fn rgb((r, g, b): Rgb) -> Color {
    Color::Rgb(r, g, b)
}
