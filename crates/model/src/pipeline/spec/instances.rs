//! Numbers of pods.

use std::ops::RangeInclusive;

use crate::field::{Field, TextField};
use crate::problem::Code;
use crate::reader::{Context, Fields};

/// `instanceSelection`: how many pods.
#[derive(Clone, Debug)]
pub enum InstanceSelection {
    /// So many.
    Count(TextField),
    /// So many hundredths of what there is.
    Percentage(TextField),
}

impl InstanceSelection {
    /// Reads `instanceSelection`, with a percentage in `shares`, and a count from its start.
    pub(super) fn required(
        spec: &mut Fields<'_>,
        shares: RangeInclusive<u32>,
        cx: &mut Context<'_>,
    ) -> Option<Self> {
        const TYPES: [(&str, bool); 2] = [("Count", false), ("Percentage", true)];
        let mut fields = spec.required_map("instanceSelection", cx)?;
        let percent = fields.required_choice("type", &TYPES, cx);
        let inner = fields.required_map("spec", cx);
        fields.finish(cx);
        let (percent, mut inner) = (percent?, inner?);
        let name = if percent { "percentage" } else { "count" };
        if inner.node(name).is_none() {
            inner.missing(name, cx);
        }
        let read = match percent {
            true => percentage(&mut inner, name, shares, cx).map(Self::Percentage),
            false => count(&mut inner, name, *shares.start(), cx).map(Self::Count),
        };
        inner.finish(cx);
        read
    }
}

/// A whole number from `least`, or an expression.
pub(super) fn count(
    fields: &mut Fields<'_>,
    name: &'static str,
    least: u32,
    cx: &mut Context<'_>,
) -> Option<TextField> {
    let form = format!("a whole number from {least} is needed here");
    number(fields, name, |number| number >= least, &form, cx)
}

/// A whole number of hundredths, or an expression.
pub(super) fn percentage(
    fields: &mut Fields<'_>,
    name: &'static str,
    shares: RangeInclusive<u32>,
    cx: &mut Context<'_>,
) -> Option<TextField> {
    let (least, most) = (shares.start(), shares.end());
    let form = format!("a whole number from {least} to {most} is needed here");
    number(fields, name, |number| shares.contains(&number), &form, cx)
}

/// A whole number that fits, or an expression.
pub(super) fn number(
    fields: &mut Fields<'_>,
    name: &'static str,
    fits: impl Fn(u32) -> bool,
    form: &str,
    cx: &mut Context<'_>,
) -> Option<TextField> {
    let field = fields.text(name, cx)?;
    let code = match &field.value {
        Field::Expression(_) => return Some(field),
        Field::Value(text) => match text.trim().parse() {
            Ok(number) if fits(number) => return Some(field),
            Ok(_) => Code::InvalidValue,
            Err(_) => Code::WrongType,
        },
    };
    cx.error(code, &fields.path_of(name), field.position, form);
    None
}
