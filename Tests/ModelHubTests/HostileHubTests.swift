import Foundation
import TestSupport
import Testing

@testable import ModelHub

@Suite("A hub that means no good")
struct HostileHubTests {
    private static let hash = String(repeating: "0", count: 64)

    @Test(
        "cannot name files elsewhere, sizes that nothing has, or no hash",
        arguments: [
            (#"{"type":"file","path":"../../.bashrc","size":1,"oid":"H"}"#, "could lead elsewhere"),
            (#"{"type":"file","path":"/etc/passwd","size":1,"oid":"H"}"#, "could lead elsewhere"),
            (#"{"type":"file","path":"a\u0000b","size":1,"oid":"H"}"#, "could lead elsewhere"),
            (#"{"type":"file","path":"a\\..\\b","size":1,"oid":"H"}"#, "could lead elsewhere"),
            (#"{"type":"file","path":"a","size":-1,"oid":"H"}"#, "not possible"),
            (#"{"type":"file","path":"a","size":9223372036854775807,"oid":"H"}"#, "not possible"),
            (#"{"type":"file","path":"a","size":1e300,"oid":"H"}"#, "not possible"),
            (#"{"type":"file","path":"a","size":1,"oid":"../../../x"}"#, "no hash"),
            (#"{"type":"file","path":"a","size":1}"#, "no hash"),
            (
                #"{"type":"file","path":"a","size":1,"oid":"H"},{"type":"file","path":"a","size":1,"oid":"H"}"#,
                "twice"
            ),
            (#"{"type":"file","size":1,"oid":"H"}"#, "no name"),
        ])
    func entries(entry: String, words: String) async throws {
        var conduct = LocalHub.Conduct.model
        conduct.list = "[\(entry.replacing("H", with: Self.hash))]"
        try await Machine.with(conduct) { machine in
            let got = await machine.failure { $0.include = ["*"] }
            #expect(got.contains(words), "\(got)")
            #expect(!FileManager.default.fileExists(atPath: machine.folder.appending(path: "hub").path))
        }
    }

    @Test(
        "cannot give other answers than lists",
        arguments: ["", "{}", "[", "<html>", "[1,2]", #"{"error":"no"}"#, "null"])
    func lists(list: String) async throws {
        var conduct = LocalHub.Conduct.model
        conduct.list = list
        try await Machine.with(conduct) { machine in #expect(!(await machine.failure()).isEmpty) }
    }

    @Test("cannot fill a disk")
    func room() async throws {
        var conduct = LocalHub.Conduct.model
        conduct.list = #"[{"type":"file","path":"a.safetensors","size":4000000000000,"oid":"\#(Self.hash)"}]"#
        try await Machine.with(conduct) { machine in
            let words = await machine.failure { $0.include = ["*"] }
            #expect(
                words.contains("are free") && words.contains("4000 GB"),
                "\(words)")
        }
    }

    @Test("cannot send in circles, to files, or to what two readers read differently")
    func redirects() async throws {
        for (target, words) in [
            (
                "http://127.0.0.1:PORT/\(LocalHub.repository)/resolve/\(LocalHub.commit)/merges.txt",
                "more than 5 times"
            ),
            ("file:///etc/passwd", "not followed"), ("http://a:b@127.0.0.1/", "not followed"),
            ("gopher://127.0.0.1/", "not followed"),
        ] {
            var conduct = LocalHub.Conduct.model
            conduct.redirects["merges.txt"] = target
            try await Machine.with(conduct) { machine in
                let got = await machine.failure()
                #expect(got.contains(words), "\(target): \(got)")
            }
        }
    }

    @Test("cannot make answers endless")
    func endless() async throws {
        for path in ["revision", "resolve"] {
            let server = try LocalServer { asked, _ in
                if asked.contains(path) { return .endless }
                if asked.contains("/tree/") {
                    let file =
                        #"{"type":"file","path":"config.json","size":10,"oid":"\#(String(repeating: "0", count: 40))"}"#
                    return .response(
                        200, [],
                        Data("[\(file),\(file.replacing("config.json", with: "a.safetensors"))]".utf8))
                }
                return .response(200, [], Data(#"{"sha":"\#(LocalHub.commit)"}"#.utf8))
            }
            defer { server.stop() }
            let settings = try HubSettings(environment: ["HF_ENDPOINT": server.url(""), "HOME": "/nowhere"])
            let pull = try ModelPull(#require(RepositoryName("owner/model")), settings: settings)
            let error = await #expect(throws: HubError.self) { try await pull.plan() }
            #expect(error?.description.contains("more than") == true, "\(String(describing: error))")
        }
    }

    @Test("is told apart from one that only refuses")
    func refusals() async throws {
        for (status, code, token, words) in [
            (401, "GatedRepo", nil, "accept them at"), (403, "GatedRepo", "t", "with the account"),
            (401, "RepoNotFound", nil, "or it is private"),
            (404, "RepoNotFound", "t", "that the token may see"),
            (401, "", "t", "does not accept the token"), (404, "RevisionNotFound", nil, "no revision 'main'"),
            (418, "", nil, "answered 418"),
        ] as [(Int, String, String?, String)] {
            var conduct = LocalHub.Conduct.model
            conduct.refusal = (status, code)
            try await Machine.with(conduct) { machine in
                var machine = machine
                machine.environment["HF_TOKEN"] = token
                let got = await machine.failure()
                #expect(got.contains(words), "\(status) \(code): \(got)")
            }
        }
    }

    @Test("is not asked at all when the user is offline")
    func offline() async throws {
        try await Machine.with { machine in
            var machine = machine
            machine.environment["HF_HUB_OFFLINE"] = "1"
            #expect(await machine.failure().contains("HF_HUB_OFFLINE") && machine.hub.requests.isEmpty)
        }
    }

    @Test("has repositories that cannot be run, which is said by name before the download")
    func unusable() async throws {
        for (name, words) in [
            ("onnx/decoder.onnx", "ONNX only"), ("fastvithd.mlpackage/Data/weight.bin", "Core ML only"),
            ("model.gguf", "GGUF only"), ("pytorch_model.bin", "PyTorch's format only"),
            ("adapter_config.json", "LoRA adapter"), ("a.txt", "no weights"),
        ] {
            var conduct = LocalHub.Conduct.model
            conduct.files["model.safetensors"] = nil
            conduct.files["onnx/model.onnx"] = nil
            conduct.files[name] = Data("x".utf8)
            try await Machine.with(conduct) { machine in
                let got = await machine.failure()
                #expect(got.contains(words) && got.contains("owner/model"), "\(name): \(got)")
            }
        }
        try await Machine.with { machine in
            let got = await machine.failure {
                $0.examine = {
                    String(decoding: $0, as: UTF8.self).contains("llava_qwen2") ? "it is a llama" : nil
                }
            }
            #expect(got.contains("it is a llama") && got.contains("nothing was downloaded"))
            #expect(machine.hub.sentBytes < 1000)
        }
    }

    @Test(
        "has exports whose vision tower is for Apple's devices only, which is said before their weights come")
    func coreMLTower() async throws {
        func weights(_ names: [String]) -> Data {
            let members = names.map { #""\#($0)":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}"# }
            let header = Data("{\(members.joined(separator: ","))}".utf8)
            return withUnsafeBytes(of: UInt64(header.count).littleEndian) { Data($0) } + header
                + Data(count: 500_000)
        }
        for hasIndex in [false, true] {
            for names in [["model.layers.0.mlp.weight"], ["vision_tower.stem.weight", "model.norm.weight"]] {
                var conduct = LocalHub.Conduct.model
                conduct.files["fastvithd.mlpackage/Data/weight.bin"] = Data("x".utf8)
                conduct.files["model.safetensors"] = weights(names)
                if hasIndex {
                    let map = names.map { #""\#($0)":"model.safetensors""# }.joined(separator: ",")
                    conduct.files["model.safetensors.index.json"] = Data(#"{"weight_map":{\#(map)}}"#.utf8)
                }
                try await Machine.with(conduct) { machine in
                    if names.count > 1 {
                        try await machine.run()
                    } else {
                        let got = await machine.failure()
                        #expect(
                            got.contains("fastvithd.mlpackage") && got.contains("nothing was downloaded"),
                            "\(got)")
                        #expect(try machine.cache.modelFolder(machine.repository) == nil)
                    }
                }
            }
        }
    }

    @Test("says under which licence a model is")
    func licences() async throws {
        for (card, name, isOpen) in [
            (#""tags":["a","license:mit"]"#, "mit", true),
            (#""cardData":{"license":"apple-amlr"}"#, "apple-amlr", false),
            (
                #""cardData":{"license":"other","license_name":"apple-ascl","license_link":"https://a/b"}"#,
                "apple-ascl", false
            ),
            (#""tags":[]"#, nil, false), (#""cardData":{"license":["mit"]}"#, nil, false),
        ] as [(String, String?, Bool)] {
            var conduct = LocalHub.Conduct.model
            conduct.card = card
            try await Machine.with(conduct) { machine in
                let plan = try await machine.pull().plan()
                #expect(plan.terms.licence.name == name && plan.terms.licence.isOpen == isOpen)
                #expect(plan.terms.text == Array("Do what you like.\n".utf8))
            }
        }
    }
}
