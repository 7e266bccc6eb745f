//! The two ways through a browser that can do nothing but load scripts and submit forms.

use engineio_core::{Message, Packet, Payload, codec::v3, codec::v4, jsonp};

/// What the reference's client puts into its form: line feeds and `\n` escaped, then form encoding.
fn form(payload: &str) -> String {
    let escaped = payload.replace("\\n", "\\\n").replace('\n', "\\n");
    form_urlencoded::Serializer::new(String::new())
        .append_pair("d", &escaped)
        .finish()
}

fn unwrapped(form: impl AsRef<[u8]>) -> Option<String> {
    jsonp::unwrap(form.as_ref()).map(|data| String::from_utf8(data.to_vec()).unwrap())
}

/// The argument of the callback, read as JSON, which is what the string also is.
fn argument(script: &[u8], index: u32) -> String {
    let head = format!("___eio[{index}](");
    let literal = script
        .strip_prefix(head.as_bytes())
        .and_then(|rest| rest.strip_suffix(b");"))
        .unwrap();
    serde_json::from_slice(literal).unwrap()
}

#[test]
fn a_payload_becomes_the_argument_of_a_call() {
    // 75
    let packets: [Packet; 2] = [Message::from("a").into(), Message::from("b\u{2028}").into()];
    let payload = v4::encode_payload(&packets);
    let script = jsonp::wrap(12, std::str::from_utf8(&payload).unwrap());
    assert_eq!(script, r#"___eio[12]("4a\u001e4b\u2028");"#);
    assert_eq!(jsonp::wrap(0, ""), r#"___eio[0]("");"#);
    assert_eq!(
        jsonp::wrap(u32::MAX, "€😀"),
        r#"___eio[4294967295]("€😀");"#
    );
}

#[test]
fn whatever_could_end_the_string_or_the_script_is_escaped() {
    for (text, literal) in [
        ("\"", r#"\""#),
        ("\\", r"\\"),
        ("\\\"", r#"\\\""#),
        ("\n\r\t", r"\n\r\t"),
        (
            "\0\u{8}\u{b}\u{c}\u{1e}\u{1f}\u{7f}",
            r"\u0000\u0008\u000b\u000c\u001e\u001f\u007f",
        ),
        ("\u{2028}\u{2029}", r"\u2028\u2029"),
        // Their neighbours, which begin with the same bytes.
        ("\u{2027}\u{202a}", "\u{2027}\u{202a}"),
        ("</script><!--&", r"\u003c/script\u003e\u003c!--\u0026"),
        ("'`/ €", "'`/ €"),
    ] {
        let script = jsonp::wrap(7, text);
        assert_eq!(script, format!("___eio[7](\"{literal}\");"), "{text:?}");
        assert_eq!(argument(&script, 7), text);
    }
    let every: String = ('\0'..='\u{3000}').collect();
    let script = jsonp::wrap(1, &every);
    assert_eq!(argument(&script, 1), every);
    let forbidden = |byte: &u8| *byte < 0x20 || matches!(byte, b'<' | b'>' | b'&' | 0x7f);
    assert_eq!(script.iter().find(|byte| forbidden(byte)), None);
}

#[test]
fn a_form_becomes_a_payload() {
    // 76
    let data = unwrapped(r"d=4a%5Cnb%5C%5Cnc").unwrap();
    assert_eq!(data, "4a\nb\\nc");
    let packets: Vec<_> = v4::decode_payload(data.into()).collect();
    assert_eq!(packets, [Ok(Packet::Message(Message::from("a\nb\\nc")))]);
    // The reference's two replacements on runs of backslashes; taken from running them.
    for (escaped, data) in [
        (r"an", "an"),
        (r"a\n", "a\n"),
        (r"a\\n", r"a\n"),
        (r"a\\\n", r"a\\n"),
        (r"a\\\\n", r"a\\\n"),
        (r"\n\n\\n\n", "\n\n\\n\n"),
        (r"\\", r"\\"),
        (r"\t\\t", r"\t\\t"),
        ("\\\n", "\\\n"),
    ] {
        let form: String = escaped.replace('\\', "%5C").replace('\n', "%0A");
        assert_eq!(unwrapped(format!("d={form}")).unwrap(), data, "{escaped}");
        assert_eq!(
            unwrapped(format!("d={escaped}")).unwrap(),
            data,
            "{escaped}"
        );
    }
}

#[test]
fn what_the_reference_client_sends_comes_back() {
    for payload in [
        "4hello",
        "4a\nb\r\nc",
        "4{\"text\":\"line\\nline\\\\n\"}",
        "4a+b c&d=e%41\u{1e}4€😀",
        "6:4hello10:b4AQIDBA==",
        "4\u{0}",
    ] {
        assert_eq!(unwrapped(form(payload)).as_deref(), Some(payload));
    }
    // The lengths of revision 3 count what was sent before it was escaped.
    let packets = [Message::from("\n\\n😀").into(), Message::from([1]).into()];
    let payload = v3::encode_payload(&packets, true);
    let body = jsonp::unwrap(form(std::str::from_utf8(&payload.body).unwrap()).as_bytes()).unwrap();
    let decoded: Vec<Packet> = v3::decode_payload(Payload::text(body))
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(decoded, packets);
}

#[test]
fn the_first_field_d_counts() {
    // 77
    for body in ["", "x=1", "D=4a", "dd=4a", "=4a", "&&", "x=d"] {
        assert_eq!(unwrapped(body), None, "{body}");
    }
    for (body, data) in [
        ("d=", ""),
        ("d", ""),
        ("x=1&d=4a", "4a"),
        ("d=4a&d=4b", "4a"),
        ("&d=4a&", "4a"),
        ("%64=4a", "4a"),
        ("d=4=a", "4=a"),
    ] {
        assert_eq!(unwrapped(body).as_deref(), Some(data), "{body}");
    }
}

#[test]
fn a_damaged_form_does_no_harm() {
    for (body, data) in [
        ("d=4%", "4%"),
        ("d=4%4", "4%4"),
        ("d=4%zz", "4%zz"),
        ("d=4%%41", "4%A"),
        ("d=4%4%41", "4%4A"),
    ] {
        assert_eq!(unwrapped(body).as_deref(), Some(data), "{body}");
    }
    // What is no UTF-8 is passed on and refused where payloads are read, not silently replaced.
    let data = jsonp::unwrap(b"d=4%ff").unwrap();
    assert_eq!(data, &b"4\xff"[..]);
    assert!(v4::decode_payload(data).any(|packet| packet.is_err()));
}
