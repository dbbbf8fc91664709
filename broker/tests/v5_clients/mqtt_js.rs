//! MQTT.js for Node. What it does and expects stands in `mqtt_js.js`.

use sol::Limits;

use super::common::peers::has_mqtt_js;
use super::{script, strict};

fn mqtt_js(function: &str, limits: Limits) {
    if has_mqtt_js() {
        script("node", "-e", include_str!("mqtt_js.js"), function, limits);
    }
}

macro_rules! tests {
    ($($function:ident)*) => {
        $(
            #[test]
            fn $function() {
                mqtt_js(stringify!($function), Limits::default());
            }
        )*
    };
}

tests! {
    properties_go_on_unaltered
    messages_expire
    it_sends_topic_aliases_by_itself
    it_takes_topic_aliases
    of_a_shared_subscription_one_member_gets_each_message
    subscriptions_have_options_and_identifiers
    wills_wait_for_the_end_of_the_delay_or_the_session
    sessions_expire
    it_stays_within_its_receive_maximum
    what_is_too_large_is_not_sent
    acknowledgements_say_more
    what_it_refuses_is_not_sent_again
    the_first_connection_is_told_that_it_is_taken_over
}

#[test]
fn it_keeps_to_the_brokers_receive_maximum() {
    let limits = Limits { max_received_messages: 1, ..Limits::default() };
    mqtt_js("it_keeps_to_the_brokers_receive_maximum", limits);
}

#[test]
fn what_connack_says_is_not_available_is_refused() {
    mqtt_js("what_connack_says_is_not_available_is_refused", strict());
}
