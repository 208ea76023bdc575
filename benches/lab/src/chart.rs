//! A chart as SVG: lines or steps over two axes, each linear or logarithmic.
//!
//! Promises: the same data give the same bytes; it can be read on light and on dark pages, and where colours can not be told
//! apart, because every series also has a dash of its own. Must not: know what is drawn.

use std::fmt::Write as _;

use crate::bars::short;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 76.0;
const BOTTOM: f64 = 92.0;
/// Between two lines of the legend.
const LEGEND_LINE: f64 = 18.0;
const STYLE: &str = "\
text{font-family:sans-serif;font-size:12px;fill:#24292f}\
.title{font-size:16px;font-weight:bold}.small{font-size:11px;fill:#57606a}\
.page{fill:#fff}.grid{stroke:#d0d7de;stroke-width:1}.axis{stroke:#57606a;stroke-width:1;fill:none}\
.s{fill:none;stroke-width:2}\
.s0{stroke:#0969da}.s1{stroke:#cf222e}.s2{stroke:#1a7f37}.s3{stroke:#8250df}.s4{stroke:#9a6700}.s5{stroke:#57606a}\
.m0{fill:#0969da}.m1{fill:#cf222e}.m2{fill:#1a7f37}.m3{fill:#8250df}.m4{fill:#9a6700}.m5{fill:#57606a}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#9198a1}.page{fill:#0d1117}.grid{stroke:#30363d}\
.axis{stroke:#9198a1}.s0{stroke:#4493f8}.s1{stroke:#f85149}.s2{stroke:#3fb950}.s3{stroke:#ab7df8}.s4{stroke:#d29922}\
.s5{stroke:#9198a1}.m0{fill:#4493f8}.m1{fill:#f85149}.m2{fill:#3fb950}.m3{fill:#ab7df8}.m4{fill:#d29922}.m5{fill:#9198a1}}";
const DASHES: [&str; 6] = ["none", "7 4", "2 3", "10 3 2 3", "5 2", "1 4"];

/// How values lie on an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// From zero on.
    Linear,
    Logarithmic,
}

/// One axis; the label has the unit.
#[derive(Debug, Clone)]
pub struct Axis {
    pub label: &'static str,
    pub scale: Scale,
}

/// One line of the chart.
#[derive(Debug, Clone)]
pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
    /// Stairs instead of straight lines, without marks.
    pub is_stairs: bool,
}

/// A chart.
#[derive(Debug, Clone)]
pub struct Chart {
    pub title: &'static str,
    /// Where the data are from: the command, and then machine, commit and day.
    pub source: [String; 2],
    pub x: Axis,
    pub y: Axis,
    pub series: Vec<Series>,
}

/// An axis with its extent, on the page.
struct Ruler {
    scale: Scale,
    least: f64,
    most: f64,
    from: f64,
    to: f64,
}

impl Ruler {
    /// An extent of `values` that ends at ticks. Values that a logarithm has not are left out.
    fn over(values: impl Iterator<Item = f64>, scale: Scale, (from, to): (f64, f64)) -> Self {
        let usable = |value: &f64| value.is_finite() && (scale == Scale::Linear || *value > 0.0);
        let values: Vec<f64> = values.filter(usable).collect();
        let most = values.iter().copied().fold(f64::MIN, f64::max).max(f64::MIN_POSITIVE);
        let least = values.iter().copied().fold(f64::MAX, f64::min).min(most);
        let (least, most) = match scale {
            Scale::Linear => (0.0, (most / step(most)).ceil() * step(most)),
            Scale::Logarithmic => {
                let (floor, ceiling) = (least.log10().floor(), most.log10().ceil());
                (10.0_f64.powf(floor), 10.0_f64.powf(ceiling.max(floor + 1.0)))
            }
        };
        Self { scale, least, most, from, to }
    }

    fn at(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.least) / (self.most - self.least),
            Scale::Logarithmic => (value / self.least).log10() / (self.most / self.least).log10(),
        };
        self.from + share * (self.to - self.from)
    }

    fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let step = step(self.most);
                (0..=20)
                    .map(|number| f64::from(number) * step)
                    .take_while(|tick| *tick <= self.most * 1.000_1)
                    .collect()
            }
            Scale::Logarithmic => {
                let decades = (self.most / self.least).log10().round() as i32;
                let between: &[f64] = if decades <= 3 { &[1.0, 2.0, 5.0] } else { &[1.0] };
                let all = (0..=decades)
                    .flat_map(|decade| between.iter().map(move |part| part * 10.0_f64.powi(decade)));
                all.map(|tick| tick * self.least).filter(|tick| *tick <= self.most * 1.000_1).collect()
            }
        }
    }
}

/// The distance of about five ticks up to `most`.
fn step(most: f64) -> f64 {
    let raw = most / 5.0;
    let decade = 10.0_f64.powf(raw.log10().floor());
    let part = raw / decade;
    decade
        * if part <= 1.0 {
            1.0
        } else if part <= 2.0 {
            2.0
        } else if part <= 5.0 {
            5.0
        } else {
            10.0
        }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// `1,000` or `0.5`.
fn tick_text(value: f64) -> String {
    if value < 10.0 && value.fract() != 0.0 {
        let text = short(value);
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (number, digit) in digits.chars().enumerate() {
        if number > 0 && (digits.len() - number) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl Chart {
    /// The chart as a file.
    pub fn svg(&self) -> String {
        let of = |part: fn(&(f64, f64)) -> f64| {
            self.series.iter().flat_map(move |series| series.points.iter().map(part))
        };
        let legend = self.series.len().div_ceil(3) as f64 * LEGEND_LINE;
        let height = HEIGHT + legend;
        let x = Ruler::over(of(|point| point.0), self.x.scale, (LEFT, WIDTH - RIGHT));
        let y = Ruler::over(of(|point| point.1), self.y.scale, (HEIGHT - BOTTOM, TOP));
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" role=\"img\" aria-label=\"{0}\">\n<title>{0}</title>\n<style>{STYLE}</style>\n\
             <rect class=\"page\" width=\"{WIDTH}\" height=\"{height}\"/>\n\
             <text class=\"title\" x=\"{LEFT}\" y=\"26\">{0}</text>\n<text class=\"small\" x=\"{LEFT}\" y=\"45\">{1}</text>\n\
             <text class=\"small\" x=\"{LEFT}\" y=\"61\">{2}</text>\n",
            escaped(self.title),
            escaped(&self.source[0]),
            escaped(&self.source[1]),
        );
        self.axes(&mut svg, &x, &y);
        for (number, series) in self.series.iter().enumerate() {
            draw(&mut svg, number, series, (&x, &y));
            legend_entry(&mut svg, number, &series.name);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn axes(&self, svg: &mut String, x: &Ruler, y: &Ruler) {
        let bottom = HEIGHT - BOTTOM;
        let mut line = |text: String| {
            svg.push_str(&text);
            svg.push('\n');
        };
        for tick in x.ticks() {
            let at = x.at(tick);
            line(format!("<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom}\"/>"));
            line(format!(
                "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                bottom + 18.0,
                tick_text(tick)
            ));
        }
        for tick in y.ticks() {
            let at = y.at(tick);
            line(format!("<path class=\"grid\" d=\"M{LEFT} {at:.1}H{}\"/>", WIDTH - RIGHT));
            line(format!(
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 8.0,
                at + 4.0,
                tick_text(tick)
            ));
        }
        line(format!("<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{}\"/>", WIDTH - RIGHT));
        let middle = (LEFT + WIDTH - RIGHT) / 2.0;
        line(format!(
            "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            bottom + 40.0,
            escaped(self.x.label)
        ));
        let middle = (TOP + bottom) / 2.0;
        line(format!(
            "<text transform=\"translate(18 {middle}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            escaped(self.y.label)
        ));
    }
}

fn draw(svg: &mut String, number: usize, series: &Series, (x, y): (&Ruler, &Ruler)) {
    let infallible = "writing to memory does not fail";
    let on_page: Vec<(f64, f64)> = series
        .points
        .iter()
        .filter(|(at, value)| {
            (x.scale == Scale::Linear || *at > 0.0) && (y.scale == Scale::Linear || *value > 0.0)
        })
        .map(|(at, value)| (x.at(*at), y.at(*value)))
        .collect();
    let mut path = String::new();
    for (index, (across, up)) in on_page.iter().enumerate() {
        match index {
            0 => write!(path, "M{across:.1} {up:.1}").expect(infallible),
            _ if series.is_stairs => write!(path, "H{across:.1}V{up:.1}").expect(infallible),
            _ => write!(path, "L{across:.1} {up:.1}").expect(infallible),
        }
    }
    let (colour, dash) = (number % 6, DASHES[number % 6]);
    writeln!(svg, "<path class=\"s s{colour}\" stroke-dasharray=\"{dash}\" d=\"{path}\"/>")
        .expect(infallible);
    if !series.is_stairs {
        for (across, up) in on_page {
            writeln!(svg, "<circle class=\"m{colour}\" cx=\"{across:.1}\" cy=\"{up:.1}\" r=\"3\"/>")
                .expect(infallible);
        }
    }
}

fn legend_entry(svg: &mut String, number: usize, name: &str) {
    let width = (WIDTH - LEFT - RIGHT) / 3.0;
    let left = LEFT + width * (number % 3) as f64;
    let up = HEIGHT - 34.0 + LEGEND_LINE * (number / 3) as f64;
    let (colour, dash) = (number % 6, DASHES[number % 6]);
    writeln!(
        svg,
        "<path class=\"s s{colour}\" stroke-dasharray=\"{dash}\" d=\"M{left:.1} {up}h28\"/>\
         <text x=\"{:.1}\" y=\"{}\">{}</text>",
        left + 34.0,
        up + 4.0,
        escaped(name)
    )
    .expect("writing to memory does not fail");
}

#[cfg(test)]
mod tests {
    use super::{Axis, Chart, Ruler, Scale, Series, tick_text};

    fn chart() -> Chart {
        let series = |name: &str, points: &[(f64, f64)]| Series {
            name: name.to_owned(),
            points: points.to_vec(),
            is_stairs: false,
        };
        Chart {
            title: "a < b",
            source: ["made up", "on no machine"].map(str::to_owned),
            x: Axis { label: "clients", scale: Scale::Logarithmic },
            y: Axis { label: "slots/s", scale: Scale::Linear },
            series: vec![
                series("etcd", &[(1.0, 900.0), (64.0, 4_000.0)]),
                series("Slotkeeper", &[(0.0, 1.0), (1.0, 800.0)]),
            ],
        }
    }

    #[test]
    fn the_same_data_give_the_same_bytes_with_labels_and_legend() {
        let svg = chart().svg();
        assert_eq!(svg, chart().svg());
        for part in [
            "a &lt; b",
            "made up",
            "on no machine",
            "clients",
            "slots/s",
            "etcd",
            "Slotkeeper",
            "prefers-color-scheme:dark",
        ] {
            assert!(svg.contains(part), "{part} is missing");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 3, "what has no logarithm is left out");
    }

    #[test]
    fn every_value_lies_between_the_ends_of_its_axis() {
        for scale in [Scale::Linear, Scale::Logarithmic] {
            for most in [0.003, 1.0, 7.0, 10.0, 99.0, 123_456.0] {
                let ruler = Ruler::over([most / 50.0, most].into_iter(), scale, (0.0, 100.0));
                assert!((0.0..=100.001).contains(&ruler.at(most)), "{scale:?} {most}");
                assert!((0.0..=100.001).contains(&ruler.at(most / 50.0)), "{scale:?} {most}");
                assert!(ruler.ticks().len() >= 2, "{scale:?} {most}: {:?}", ruler.ticks());
            }
        }
    }

    #[test]
    fn ticks_are_written_as_people_write_them() {
        let texts: Vec<String> = [0.0, 0.5, 0.02, 2.0, 1_000.0, 1_234_567.0].map(tick_text).into();
        assert_eq!(texts, ["0", "0.5", "0.02", "2", "1,000", "1,234,567"]);
    }
}
