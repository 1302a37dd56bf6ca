//! Notes: Markdown as HTML, in which nothing but Markdown's own elements can stand.

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

/// The schemes that a link may have; one without a scheme leads to a file beside the page.
const SCHEMES: [&str; 3] = ["https", "http", "mailto"];

/// The HTML of a note. Tags in it are shown as text, images as what they are called, and a link to
/// anything but a page, a mail address or a file as its text.
pub(super) fn html(markdown: &str) -> String {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let mut dropped = Vec::new();
    let events = Parser::new_ext(markdown, options).filter_map(|event| {
        Some(match event {
            Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
            Event::Start(Tag::HtmlBlock) => Event::Start(Tag::Paragraph),
            Event::End(TagEnd::HtmlBlock) => Event::End(TagEnd::Paragraph),
            Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => return None,
            Event::Start(Tag::Link { ref dest_url, .. }) => {
                let allowed = may_lead_to(dest_url);
                dropped.push(!allowed);
                return allowed.then_some(event);
            }
            Event::End(TagEnd::Link) => {
                return (!dropped.pop().unwrap_or(true)).then_some(event);
            }
            // The page has a heading of its own above the note's.
            Event::Start(Tag::Heading { level, id, classes, attrs }) => {
                Event::Start(Tag::Heading { level: below(level), id, classes, attrs })
            }
            Event::End(TagEnd::Heading(level)) => Event::End(TagEnd::Heading(below(level))),
            event => event,
        })
    });
    let mut written = String::new();
    html::push_html(&mut written, events);
    written
}

fn may_lead_to(address: &str) -> bool {
    // Browsers skip controls and spaces in a scheme.
    if address.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return false;
    }
    match address.split_once(':') {
        None => true,
        // A colon behind one of these is no scheme's.
        Some((before, _)) if before.contains(['/', '?', '#']) => true,
        Some((scheme, _)) => SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known)),
    }
}

fn below(level: HeadingLevel) -> HeadingLevel {
    HeadingLevel::try_from(level as usize + 1).unwrap_or(HeadingLevel::H6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_is_drawn() {
        assert_eq!(html("# A *b*"), "<h2>A <em>b</em></h2>\n");
        assert!(html("|a|b|\n|-|-|\n|1|2|").contains("<td>2</td>"));
        assert_eq!(
            html("[x](https://a.b/c?d) and [y](out.csv)"),
            "<p><a href=\"https://a.b/c?d\">x</a> and <a href=\"out.csv\">y</a></p>\n"
        );
    }

    #[test]
    fn nothing_else_is() {
        for attack in [
            "<script>alert(1)</script>",
            "a <img src=x onerror=alert(1)> b",
            "<svg/onload=alert(1)>",
            "![<b>](javascript:alert(1))",
            "![x](https://tracker/pixel.png \"<t>\")",
            "[x](javascript:alert(1))",
            "[x](JaVaScRiPt:alert(1))",
            "[x](<java\tscript:alert(1)>)",
            "[x](&#106;avascript:alert(1))",
            "[x](data:text/html,<script>alert(1)</script>)",
            "[x](vbscript:x)",
            "<javascript:alert(1)>",
            "[x][r]\n\n[r]: javascript:alert(1)",
            "```<script>\n</code><script>alert(1)</script>\n```",
            "<!-- --><iframe src=x>",
        ] {
            let written = html(attack);
            for part in [
                "<script",
                "<img",
                "<svg",
                "<iframe",
                "<!--",
                "href=\"j",
                "href=\"data",
                "href=\"v",
            ] {
                assert!(!written.to_lowercase().contains(part), "{attack}: {written}");
            }
            // The attributes of this writer are href and title of links, class of code.
            let tags = written.split('<').skip(1).filter_map(|tag| tag.split('>').next());
            assert!(tags.clone().all(|tag| !tag.contains(" on")), "{attack}: {written}");
        }
        assert_eq!(html("[x](javascript:a) y"), "<p>x y</p>\n");
    }
}
