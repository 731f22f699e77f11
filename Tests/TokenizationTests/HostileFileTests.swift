import Foundation
import TestSupport
import Testing

@testable import Tokenization

/// Damaged and malicious files: each gives its typed error and none traps.
struct HostileFileTests {
    /// A small valid tokenizer.json; `replacing` swaps parts of its text.
    static func json(_ replacing: KeyValuePairs<String, String> = [:]) -> Data {
        let bytes = (0..<256).map { byte in
            let scalar = Unicode.Scalar(ByteAlphabet.scalars[byte]).map(String.init) ?? ""
            let escaped = scalar == "\"" || scalar == "\\" ? "\\" + scalar : scalar
            return "\"\(escaped)\":\(byte)"
        }
        var text = """
            {"version":"1.0","added_tokens":[{"id":257,"content":"<s>","special":true,"normalized":false}],
            "normalizer":{"type":"NFC"},
            "pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"use_regex":true},
            "post_processor":null,
            "decoder":{"type":"ByteLevel"},
            "model":{"type":"BPE","vocab":{\(bytes.joined(separator: ",")),"ab":256},"merges":["a b"]}}
            """
        for (old, new) in replacing { text = text.replacingOccurrences(of: old, with: new) }
        return Data(text.utf8)
    }

    static func error(_ data: Data) throws -> TokenizationError? {
        do {
            _ = try TokenizerFixture.load(data)
            return nil
        } catch let error as TokenizationError {
            return error
        }
    }

    /// Corpus: name, bytes, and the case of the error expected.
    static let corpus: [(name: String, data: Data, expected: String)] = [
        ("empty", Data(), "foreignContent"),
        ("zeros", Data(count: 64), "foreignContent"),
        ("notUTF8", Data([0x22, 0xFF, 0xFE, 0x22]), "invalidJSON"),
        ("truncated", json().dropLast(40), "invalidJSON"),
        ("trailing", json() + Data("x".utf8), "invalidJSON"),
        ("deepArrays", Data(String(repeating: "[", count: 200_000).utf8), "overLimit"),
        ("deepObjects", Data(String(repeating: "{\"a\":", count: 200_000).utf8), "overLimit"),
        ("array", Data("[]".utf8), "wrongValue"),
        ("noModel", Data("{}".utf8), "wrongValue"),
        ("modelIsNumber", Data("{\"model\":3}".utf8), "wrongValue"),
        ("unigram", json(["\"type\":\"BPE\"": "\"type\":\"Unigram\""]), "unsupported"),
        ("vocabIsArray", json(["\"vocab\":{": "\"vocab\":[],\"x\":{"]), "wrongValue"),
        ("noMerges", json(["\"merges\"": "\"murges\""]), "wrongValue"),
        ("mergesIsString", json(["[\"a b\"]": "\"a b\""]), "wrongValue"),
        ("idIsString", json(["\"ab\":256": "\"ab\":\"256\""]), "wrongValue"),
        ("idIsFraction", json(["\"ab\":256": "\"ab\":256.5"]), "wrongValue"),
        ("idIsNegative", json(["\"ab\":256": "\"ab\":-1"]), "wrongValue"),
        ("idIsHuge", json(["\"ab\":256": "\"ab\":9223372036854775807"]), "overLimit"),
        ("idOverflows", json(["\"ab\":256": "\"ab\":99999999999999999999999"]), "wrongValue"),
        ("idBeyondCap", json(["\"ab\":256": "\"ab\":4194304"]), "overLimit"),
        ("duplicateID", json(["\"ab\":256": "\"ab\":97"]), "conflict"),
        ("duplicateToken", json(["\"ab\":256": "\"ab\":256,\"ab\":300"]), "invalidJSON"),
        (
            "noBytes",
            Data(
                #"{"pre_tokenizer":{"type":"ByteLevel"},"decoder":{"type":"ByteLevel"},"model":{"vocab":{"ab":0},"merges":[]}}"#
                    .utf8), "noBytes"
        ),
        ("duplicateMerge", json(["[\"a b\"]": "[\"a b\",\"a b\"]"]), "duplicateMerge"),
        ("duplicateMergeOfTwoForms", json(["[\"a b\"]": "[\"a b\",[\"a\",\"b\"]]"]), "duplicateMerge"),
        ("addedEmpty", json(["\"<s>\"": "\"\""]), "wrongValue"),
        (
            "inflates",
            json([
                "{\"type\":\"NFC\"}":
                    "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\(String(repeating: "x", count: 1000))\"}"
            ]), "overLimit"
        ),
        (
            "inflatesByAndBy",
            json([
                "{\"type\":\"NFC\"}":
                    "{\"type\":\"Sequence\",\"normalizers\":[\(Array(repeating: "{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"aaa\"}", count: 20).joined(separator: ","))]}"
            ]), "overLimit"
        ),
        (
            "longPrefix",
            json([
                "{\"type\":\"NFC\"}":
                    "{\"type\":\"Prepend\",\"prepend\":\"\(String(repeating: "x", count: 65))\"}"
            ]), "overLimit"
        ),
        ("emptyVocab", json(["\"vocab\":{": "\"vocab\":{},\"x\":{"]), "unknownMergePart"),
        ("mergeOfUnknownPart", json(["\"a b\"": "\"a zz\""]), "unknownMergePart"),
        ("mergeToUnknownToken", json(["\"a b\"": "\"a c\""]), "unknownMergePart"),
        ("mergeOfOne", json(["\"a b\"": "\"ab\""]), "malformedMerge"),
        ("mergeOfThree", json(["\"a b\"": "\"a b c\""]), "malformedMerge"),
        ("mergeOfNothing", json(["\"a b\"": "\"\""]), "malformedMerge"),
        ("mergeWithEmptyPart", json(["\"a b\"": "[\"\",\"ab\"]"]), "malformedMerge"),
        ("mergeArrayOfThree", json(["\"a b\"": "[\"a\",\"b\",\"c\"]"]), "malformedMerge"),
        ("mergeIsNumber", json(["\"a b\"": "7"]), "malformedMerge"),
        ("addedIDTaken", json(["\"id\":257": "\"id\":5"]), "conflict"),
        ("addedTokenTaken", json(["\"<s>\"": "\"ab\""]), "conflict"),
        ("addedIDNegative", json(["\"id\":257": "\"id\":-257"]), "wrongValue"),
        ("addedIDBeyondCap", json(["\"id\":257": "\"id\":1000000000000"]), "overLimit"),
        ("addedWithoutContent", json(["\"content\"": "\"kontent\""]), "wrongValue"),
        ("addedFlagIsNumber", json(["\"special\":true": "\"special\":1"]), "wrongValue"),
        ("addedTooLong", json(["<s>": String(repeating: "x", count: 513)]), "overLimit"),
        ("twoModels", json(["\"post_processor\"": "\"model\":{},\"post_processor\""]), "invalidJSON"),
        ("otherNormalizer", json(["\"NFC\"": "\"NFKC\""]), "unsupported"),
        ("otherPreTokenizer", json(["{\"type\":\"ByteLevel\",": "{\"type\":\"Whitespace\","]), "unsupported"),
        ("otherDecoder", json(["{\"type\":\"ByteLevel\"}": "{\"type\":\"WordPiece\"}"]), "unsupported"),
        ("noDecoder", json(["\"decoder\"": "\"dekoder\""]), "unsupported"),
        ("loneSurrogate", json(["<s>": "\\ud83d"]), "invalidJSON"),
        ("swappedSurrogates", json(["<s>": "\\ude00\\ud83d"]), "invalidJSON"),
        ("badEscape", json(["<s>": "\\x41"]), "invalidJSON"),
        ("badHexadecimal", json(["<s>": "\\u12G4"]), "invalidJSON"),
        ("controlCharacter", json(["<s>": "a\nb"]), "invalidJSON"),
        ("unknownToken", json(["\"merges\"": "\"unk_token\":\"<unk>\",\"merges\""]), "wrongValue"),
        ("dropout", json(["\"merges\"": "\"dropout\":0.1,\"merges\""]), "unsupported"),
        ("affix", json(["\"merges\"": "\"end_of_word_suffix\":\"</w>\",\"merges\""]), "unsupported"),
    ]

    @Test("a damaged tokenizer.json gives its typed error", arguments: corpus.map(\.name))
    func damagedFile(name: String) throws {
        let entry = try #require(Self.corpus.first { $0.name == name })
        let error = try #require(try Self.error(entry.data), "loaded")
        #expect(
            String(describing: Mirror(reflecting: error).children.first?.label ?? "") == entry.expected,
            "\(error)")
        #expect(error.description.hasSuffix(".") == false && error.description.count > 40)
        // Fetching a file again mends one that is cut off, not one that asks for something else.
        if !["invalidJSON", "foreignContent"].contains(entry.expected) {
            #expect(!error.description.contains("again"), "\(error)")
        }
    }

    @Test("the undamaged file of the corpus loads")
    func undamaged() throws {
        let tokenizer = try TokenizerFixture.load(Self.json())
        #expect(tokenizer.encode("abc<s>") == [256, 99, 257])
        #expect(tokenizer.vocabularyCount == 258)
    }

    @Test("an unknown split pattern is named in the error")
    func unknownPattern() throws {
        let json = Self.json([
            "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}": """
            {"type":"Sequence","pretokenizers":[
            {"type":"Split","pattern":{"Regex":"\\\\w+|\\\\s"},"behavior":"Isolated","invert":false},
            {"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]}
            """
        ])
        guard case .unsupported(_, let key, let got, _)? = try Self.error(json) else {
            Issue.record("loaded, or another error")
            return
        }
        #expect(key == "pre_tokenizer.pretokenizers[0].pattern.Regex" && got == #""\w+|\s""#)
    }

    @Test("random damage to a valid file never traps")
    func randomDamage() throws {
        let original = Array(Self.json())
        var generator = SeededGenerator()
        try TokenizerFixture.withFolder([:]) { folder in
            for _ in 0..<500 {
                var bytes = original
                for _ in 0..<Int.random(in: 1...4, using: &generator) {
                    let place = Int.random(in: 0..<bytes.count, using: &generator)
                    switch Int.random(in: 0...3, using: &generator) {
                    case 0: bytes[place] = UInt8.random(in: 0...255, using: &generator)
                    case 1: bytes[place] = Array("{}[]\",:0-9tn\\".utf8).randomElement(using: &generator) ?? 0
                    case 2: bytes.remove(at: place)
                    default: bytes.insert(bytes[bytes.count - place - 1], at: place)
                    }
                }
                try Data(bytes).write(to: folder.appending(path: "tokenizer.json"))
                do {
                    let tokenizer = try Tokenizer(directory: folder)
                    #expect(tokenizer.decode(tokenizer.encode("ab é <s>")).utf8.count < 100)
                } catch is TokenizationError {}
            }
        }
    }

    @Test("a folder without a usable tokenizer says what to do")
    func folders() throws {
        try TokenizerFixture.withFolder([:]) { folder in
            #expect(throws: TokenizationError.noTokenizer(directory: folder.path)) {
                try Tokenizer(directory: folder)
            }
        }
        try TokenizerFixture.withFolder(["tokenizer.model": Data([1])]) { folder in
            #expect(throws: TokenizationError.self) { try Tokenizer(directory: folder) }
        }
        let missing = FileManager.default.temporaryDirectory.appending(
            path: "no-such-folder-\(UUID().uuidString)")
        #expect(throws: TokenizationError.self) { try Tokenizer(directory: missing) }
    }

    @Test(
        "damaged separate files give typed errors",
        arguments: ["vocab.json", "merges.txt", "added_tokens.json", "tokenizer_config.json"])
    func separateFiles(name: String) throws {
        let bytes = Dictionary(
            uniqueKeysWithValues: (0..<256).map {
                (String(decoding: ByteAlphabet.encoded[$0], as: UTF8.self), $0)
            })
        var files = [
            "vocab.json": try JSONSerialization.data(withJSONObject: bytes.merging(["ab": 256]) { $1 }),
            "merges.txt": Data("#version: 0.2\r\na b\r\n".utf8),
            "added_tokens.json": Data("{\"<s>\":257}".utf8),
            "tokenizer_config.json": Data("{\"added_tokens_decoder\":{\"257\":{\"content\":\"<s>\"}}}".utf8),
        ]
        let intact = try TokenizerFixture.withFolder(files) { try Tokenizer(directory: $0) }
        #expect(intact.encode("ab<s>") == [256, 257])
        let damage: [String: [String]] = [
            "vocab.json": ["[]", "{\"a\":-1}", "{\"a\":0}", ""],
            "merges.txt": ["a", "a b c\n", "a x\n", "\u{FFFD} b\n"],
            "added_tokens.json": ["{\"<s>\":5}", "{\"<s>\":[]}", "{\"<s>\":258}", "[1]"],
            "tokenizer_config.json": [
                "{\"added_tokens_decoder\":{\"x\":{\"content\":\"<t>\"}}}",
                "{\"added_tokens_decoder\":{\"300\":{\"content\":5}}}", "{\"added_tokens_decoder\":[]}",
            ],
        ]
        for text in try #require(damage[name]) {
            files[name] = Data(text.utf8)
            #expect(throws: TokenizationError.self, "\(text)") {
                try TokenizerFixture.withFolder(files) { try Tokenizer(directory: $0) }
            }
        }
    }
}
