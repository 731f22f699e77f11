import Testing

@testable import ModelHub

@Suite("Addresses, names and hashes of a hub")
struct AddressTests {
    @Test("have the origin that decides where a token goes")
    func origins() throws {
        func origin(_ text: String) throws -> WebLocation.Origin { try #require(WebLocation(text)).origin }
        #expect(try origin("https://a.b/c") == origin("HTTPS://A.B:443/d?e"))
        #expect(try origin("http://a") == origin("http://a:80/"))
        #expect(try origin("http://a/") != origin("https://a/"))
        #expect(try origin("http://a:81/") != origin("http://a/"))
        #expect(try origin("http://a.b/") != origin("http://a/"))
        #expect(try origin("http://[::1]:8080/a").host == "[::1]")
    }

    @Test(
        "are none where two readers could see two hosts",
        arguments: [
            "", "http://", "http:///a", "ftp://a/", "file:///etc/passwd", "//a/b", "http://a@b/",
            "http://a:b@c/",
            "http://a\\@b/", "http://a b/", "http://a/\u{9}", "http://ä/", "http://a:0/", "http://a:65536/",
            "http://a:/", "http://a:8o/", "http://[::1/", "http://[a]b/", "http://a%2f/", "http://a/\"",
            "javascript:alert(1)", "http://a:443:80/",
        ])
    func refused(text: String) { #expect(WebLocation(text) == nil, "\(text)") }

    @Test("escape what a path may hold")
    func escaping() {
        #expect(WebLocation.escaped("refs/pr/1") == "refs%2Fpr%2F1")
        #expect(WebLocation.escaped("sub dir/a+b.txt", keepsSlashes: true) == "sub%20dir/a%2Bb.txt")
        #expect(WebLocation.escaped("ä~") == "%C3%A4~")
    }

    @Test("name repositories as hubs do")
    func names() {
        #expect(RepositoryName("apple/FastVLM-0.5B")?.folder == "models--apple--FastVLM-0.5B")
        for text in [
            "", "a", "a/b/c", "/a", "a/", "../b", "a/..", "a/.b", "a/b.", "-a/b", "a/b--c", "a b/c",
            "a/b.git", "ä/b",
        ] {
            #expect(RepositoryName(text) == nil, "\(text)")
        }
        #expect(RepositoryName(folder: "models--apple--FastVLM-0.5B")?.description == "apple/FastVLM-0.5B")
        #expect(RepositoryName(folder: "datasets--a--b") == nil)
        #expect(RepositoryName(folder: "models--..--..") == nil)
        for (short, name) in ShortNames.table {
            #expect(ShortNames.repository(short.uppercased())?.description == name)
        }
    }

    @Test("never lead out of a folder")
    func paths() {
        for path in ["a", "a/b.c", "sub dir/ä+b", ".gitattributes", "..a/b.."] {
            #expect(RepositoryFile.isSafe(path), "\(path)")
        }
        for path in [
            "", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/..", "a\\..\\b", "C:a", "a\0b", "a\nb",
            "../\u{301}x.json", "a/\u{200D}b", "a\u{9B}2Jb", "a\u{202E}b",
            String(repeating: "a", count: 256), String(repeating: "a/", count: 16) + "a",
        ] {
            #expect(!RepositoryFile.isSafe(path), "\(path)")
        }
        for text in ["main", "v1.0", "refs/pr/1"] { #expect((try? Revision.checked(text)) == text) }
        for text in ["", "..", "a/../b", "/a", "a/", "a b", "a\nb", "a:b", "~"] {
            #expect((try? Revision.checked(text)) == nil, "\(text)")
        }
    }

    @Test("of the next page are found")
    func links() {
        #expect(HubClient.nextPage("<http://a/b?cursor=1>; rel=\"next\"") == "http://a/b?cursor=1")
        #expect(
            HubClient.nextPage("<http://a/x>; rel=\"xet-auth\", <http://a/b>; rel=\"next\"") == "http://a/b")
        #expect(HubClient.nextPage("<http://a/x>; rel=\"xet-auth\"") == nil)
        #expect(HubClient.nextPage(">http://a<; rel=\"next\"") == nil)
    }

    @Test("are hashed as Git and Git LFS do")
    func hashes() throws {
        func hash(_ kind: ContentHash, _ text: String) throws -> String {
            let hasher = try ContentHasher(kind, size: text.utf8.count)
            // In parts.
            for byte in text.utf8 { withUnsafeBytes(of: byte) { hasher.add($0) } }
            return hasher.finish().digits
        }
        #expect(try hash(.git(""), "hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a")
        #expect(try hash(.git(""), "") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391")
        #expect(
            try hash(.sha256(""), "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        )
        #expect(ContentHash(String(repeating: "A", count: 40)) == nil)
        #expect(ContentHash("../../etc/passwd") == nil)
    }

    @Test("come from the environment that the Python client reads")
    func settings() throws {
        let plain = try HubSettings(environment: ["HOME": "/home/a"])
        #expect(
            plain.endpoint == "https://huggingface.co"
                && plain.folders.cache == "/home/a/.cache/huggingface/hub")
        #expect(plain.token == nil && !plain.isOffline)
        let given = try HubSettings(environment: [
            "HOME": "/home/a", "HF_ENDPOINT": "http://127.0.0.1:80/", "HF_HOME": "~/b", "HF_TOKEN": " t\n",
            "HF_HUB_OFFLINE": "yes", "HF_HUB_DOWNLOAD_TIMEOUT": "3",
        ])
        #expect(given.endpoint == "http://127.0.0.1:80" && given.folders.cache == "/home/a/b/hub")
        #expect(given.token == "t" && given.isOffline && given.stallSeconds == 3)
        #expect(
            try HubSettings(environment: ["HF_HUB_CACHE": "/c/", "HF_HOME": "/h"]).folders.cache == "/c"
                && HubSettings(environment: ["HUGGINGFACE_HUB_CACHE": "/d"]).folders.cache == "/d"
                && HubSettings(environment: ["XDG_CACHE_HOME": "/x"]).folders.cache == "/x/huggingface/hub")
        #expect(
            try HubSettings(environment: ["HF_TOKEN": "a", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"]).token == nil
        )
        #expect(try HubSettings(environment: ["HF_TOKEN": "a"], token: "b").token == "b")
        #expect(throws: HubError.self) { try HubSettings(environment: ["HF_ENDPOINT": "hub"]) }
        // It would be another header.
        for token in ["a b", "ä"] {
            #expect(throws: HubError.self) { try HubSettings(environment: [:], token: token).checkToken() }
        }
    }
}
