//! What would fit into a cap, and what a cap could count.

use crate::cli::output::escaped;
use crate::model::reason::{Denial, Reason};
use crate::policy::quantities::{Lasts, Measure};
use crate::proxy::judge::Judgement;

/// What would fit into the cap that refused the call.
pub(super) fn change(denial: Denial, judged: &Judgement<'_>) -> String {
    let Some(short) = &judged.shortfall else { return amount(judged) };
    let cap = escaped(&short.cap.name);
    match (denial.reason, short.left) {
        (Reason::QuantityUnknown, _) | (_, None) => "nothing: try again".to_owned(),
        (_, Some(left)) => {
            let what = match (&short.cap.measure, short.cap.lasts, short.after) {
                (Measure::Sum(_), ..) => "ask for less".to_owned(),
                (Measure::Calls, _, Some(after)) => format!("wait {} s", after.as_secs().max(1)),
                (Measure::Calls, Lasts::Call, None) => "wait until a call has ended".to_owned(),
                (Measure::Calls, _, None) => "take a new token".to_owned(),
            };
            format!("{what}: this is {} and `{cap}` leaves {left}", short.amount)
        }
    }
}

/// The arguments that caps count, where one of them cannot be counted.
fn amount(judged: &Judgement<'_>) -> String {
    let call = judged.call.as_ref();
    let action = call.and_then(|call| call.action().ok()).unwrap_or_default();
    let caps = call.map(|call| call.resource().caps_on(action)).into_iter().flatten();
    let counted = caps.filter_map(|cap| match &cap.measure {
        Measure::Sum(pointer) => {
            Some(format!("`{}`, which `{}` counts", escaped(pointer), escaped(&cap.name)))
        }
        Measure::Calls => None,
    });
    let counted: Vec<_> = counted.collect();
    format!(
        "the amount in the body: {}, must be a number that is not negative, or its digits as text",
        counted.join(" and ")
    )
}
