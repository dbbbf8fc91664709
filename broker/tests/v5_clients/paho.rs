//! paho-mqtt for Python. What it does and expects stands in `paho.py`.

use sol::Limits;

use super::common::peers::has_paho;
use super::{script, strict};

fn paho(function: &str, limits: Limits) {
    if has_paho() {
        script("python3", "-c", include_str!("paho.py"), function, limits);
    }
}

macro_rules! tests {
    ($($function:ident)*) => {
        $(
            #[test]
            fn $function() {
                paho(stringify!($function), Limits::default());
            }
        )*
    };
}

tests! {
    properties_go_on_unaltered_and_in_order
    a_request_is_answered
    messages_expire
    an_alias_stands_for_its_topic
    of_a_shared_subscription_one_member_gets_each_message
    subscriptions_have_options_and_identifiers
    wills_wait_for_the_end_of_the_delay_or_the_session
    sessions_expire
    one_message_is_in_flight_at_receive_maximum_1
    what_is_too_large_is_not_sent
    acknowledgements_say_more
    the_first_connection_is_told_that_it_is_taken_over
}

#[test]
fn what_connack_says_is_not_available_is_refused() {
    paho("what_connack_says_is_not_available_is_refused", strict());
}
