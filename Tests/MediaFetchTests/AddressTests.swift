import Testing

@testable import MediaFetch

@Suite("Addresses of images that others name")
struct AddressTests {
    private static func code(_ body: () throws(MediaFetchError) -> Void) -> MediaFetchError.Code? {
        do throws(MediaFetchError) {
            try body()
            return nil
        } catch {
            return error.code
        }
    }

    @Test("have one reading, and libcurl gets that one")
    func accepted() throws {
        for (text, given) in [
            ("https://example.com", "https://example.com:443/"),
            ("HTTPS://Example.COM/A%20b.jpg?x=1&y=@#z", "https://example.com:443/A%20b.jpg?x=1&y=@"),
            ("https://example.com:8443?x", "https://example.com:8443/?x"),
            ("https://xn--bcher-kva.example/a", "https://xn--bcher-kva.example:443/a"),
            ("http://93.184.216.34/a", "http://93.184.216.34:80/a"),
            ("https://[2606:4700::1111]:444/", "https://[2606:4700::1111]:444/"),
            ("https://a_b.example.com/", "https://a_b.example.com:443/"),
        ] {
            #expect(try RemoteAddress(text).text == given)
        }
    }

    @Test(
        "that have more than one are refused",
        arguments: [
            // Two parsers that disagree on the host (vLLM GHSA-v359-jj2v-j536).
            #"https://good.example\@127.0.0.1/"#, #"https://127.0.0.1\.good.example/"#,
            "https://good.example@127.0.0.1/", "https://user:password@good.example/",
            "https://good.example%2f@127.0.0.1/", "https://127.0.0.1%00.good.example/",
            "https://good.example /", "https://good.example\t/", "https://good.example\r\nHost: a/",
            "https://good.example\u{0}/", "https://good.example/\u{7F}",
            // Names that are folded to others.
            "https://ⓛocalhost.example/", "https://１２７.0.0.1/", "https://bücher.example/",
            "https://localhost。example/",
            // No path of this machine, no other protocol.
            "file:///etc/passwd", "/etc/passwd", "gopher://good.example/", "ftp://good.example/a.jpg",
            "dict://good.example/", "https:/good.example", "https:good.example", "//good.example/", "",
            "https://",
            "https:///a", "jar:https://good.example!/a",
            // Numbers in other spellings than four decimal ones.
            "https://2130706433/", "https://0x7f000001/", "https://017700000001/", "https://0x7f.0.0.1/",
            "https://0177.0.0.1/", "https://127.1/", "https://127.0.1/", "https://127.0.0.01/",
            "https://127.0.0.1./", "https://1.2.3.4.5/", "https://256.0.0.1/", "https://0X7F.1/",
            "https://0x7F000001./", "https://a.0x1/",
            "https://[127.0.0.1]/", "https://[::1/", "https://::1/", "https://[fe80::1%25eth0]/",
            "https://[]/",
            "https://[::1]a/",
            // Hosts and ports that are none.
            "https://good..example/", "https://.good.example/", "https://good.example./",
            "https://-a.example/",
            "https://good.example:0/", "https://good.example:65536/", "https://good.example:/",
            "https://good.example:8a/", "https://good.example:80:80/", "https://a,b.example/",
            "https://a*b.example/",
            "https://\(String(repeating: "a", count: 64)).example/",
            "https://good.example/\(String(repeating: "a", count: 4000))",
        ])
    func refused(text: String) {
        #expect(Self.code { () throws(MediaFetchError) in _ = try RemoteAddress(text) } == .invalidAddress)
    }

    @Test("without a dot are of the own network", arguments: ["localhost", "metadata", "router:443"])
    func single(host: String) {
        #expect(
            Self.code { () throws(MediaFetchError) in _ = try RemoteAddress("https://\(host)/") }
                == .notAllowed)
    }

    @Test(
        "that are not of the public internet",
        arguments: [
            "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255",
            "100.100.100.200",
            "127.0.0.1", "127.255.255.254", "169.254.169.254", "169.254.170.2", "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.1", "192.168.255.255", "198.18.0.1",
            "198.19.255.255", "198.51.100.7", "203.0.113.7", "168.63.129.16", "224.0.0.1", "239.255.255.255",
            "240.0.0.1", "255.255.255.255",
            "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::a00:1", "100::1", "2001::1", "2001:0:7f00:1::",
            "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::1",
            "3fff::1",
            "fc00::1", "fd00:ec2::254", "fdff::1", "fe80::1", "fec0::1", "febf::1", "ff02::1", "5f00::1",
            "4000::1",
            "2606:4700::5efe:7f00:1", "2606:4700::200:5efe:7f00:1",
        ])
    func special(text: String) throws {
        let address = try #require(IPAddress(text))
        #expect(!address.isPublic)
        // As a literal of a request too, whatever the list of hosts.
        #expect(IPAddress(address.description) == address)
    }

    @Test(
        "that are",
        arguments: [
            "1.1.1.1", "9.255.255.255", "11.0.0.0", "93.184.216.34", "100.63.255.255", "100.128.0.0",
            "126.0.0.1",
            "128.0.0.1", "169.253.0.1", "172.15.0.1", "172.32.0.1", "192.0.1.1", "192.167.0.1", "192.169.0.1",
            "198.17.0.1", "198.20.0.1", "223.255.255.255", "168.63.129.17",
            "2001:200::1", "2001:4860:4860::8888", "2606:4700::1111", "2a00:1450::1", "2003::1", "3ffe::1",
        ])
    func ordinary(text: String) throws {
        let address = try #require(IPAddress(text))
        #expect(address.isPublic)
    }

    @Test("are compared with a list of hosts as it is written")
    func hosts() throws {
        let rule = try HostRule.list(
            "example.com, *.cdn.example, http://plain.example:8080,https://192.168.1.20:444")
        func named(_ text: String) throws -> Bool? {
            let address = try RemoteAddress(text)
            return try? rule.check(address)
        }
        for text in [
            "https://EXAMPLE.com/a", "https://a.cdn.example/", "https://a.b.cdn.example/",
            "http://plain.example:8080/",
        ] {
            #expect(try named(text) == false, "\(text)")
        }
        #expect(try named("https://192.168.1.20:444/a") == true)
        for text in [
            "http://example.com/", "https://example.com:444/", "https://a.example.com/",
            "https://example.com.evil.example/",
            "https://evilexample.com/", "https://cdn.example/", "https://evilcdn.example/",
            "http://plain.example/",
            "https://plain.example:8080/", "https://192.168.1.20/", "http://192.168.1.20:444/",
            "https://192.168.1.21:444/", "https://93.184.216.34/",
        ] {
            #expect(try named(text) == nil, "\(text)")
        }
        for text in [
            "", ",", "example.com/a", "example.com?a", "a b.example", "ftp://a.example", "*.1.2.3.4", "*",
            "*.com",
            "localhost", "user@a.example", "0x7f.1", "a.example,,b/c",
        ] {
            #expect(Self.code { () throws(MediaFetchError) in _ = try HostRule.list(text) } != nil, "\(text)")
        }
    }

    @Test("without a list are fetched by HTTPS and its own port")
    func withoutList() throws {
        func allows(_ text: String) throws -> Bool {
            let address = try RemoteAddress(text)
            return (try? HostRule.any.check(address)) == false
        }
        #expect(try allows("https://example.com/"))
        #expect(try !allows("http://example.com/"))
        #expect(try !allows("https://example.com:22/"))
    }
}
