import StrictJSON
package import SystemFiles

/// What can be wrong with the tokenizer files of a checkpoint. Encoding and decoding themselves never fail.
package enum TokenizationError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The folder holds neither tokenizer.json nor vocab.json with merges.txt nor tokenizer.model.
    case noTokenizer(directory: String)
    /// A tokenizer.model that is no SentencePiece model, at a byte offset.
    case invalidModel(file: String, offset: Int, reason: String)
    /// The operating system could not read the file.
    case unreadable(file: String, reason: SystemReason)
    /// A file, a number or a token is larger than this library accepts.
    case overLimit(file: String, what: String, limit: Int, got: String)
    /// A file that plainly holds something else than its name promises.
    case foreignContent(file: String, what: String, advice: String)
    /// A symbolic link that leads nowhere.
    case brokenLink(file: String, target: String)
    /// Text that is not JSON, at a byte offset; also a key that stands twice.
    case invalidJSON(file: String, offset: Int, reason: String, advice: String)
    /// A value is missing or has the wrong type.
    case wrongValue(file: String, key: String, expected: String, got: String)
    /// The file asks for something that this library does not implement, such as another split pattern.
    case unsupported(file: String, key: String, got: String, supported: String)
    /// Two tokens share an id, or one token has two ids.
    case conflict(file: String, token: String, ids: [Int])
    /// A merge rule names a part, or makes a token, that the vocabulary does not have.
    case unknownMergePart(file: String, merge: Int, token: String)
    /// A merge rule is not a pair of non-empty tokens.
    case malformedMerge(file: String, merge: Int, got: String)
    /// Two merge rules join the same pair.
    case duplicateMerge(file: String, merge: Int, first: Int, pair: String)
    /// A byte-level vocabulary without a token for any byte that it could write a text with.
    case noBytes(file: String)

    package var description: String {
        switch self {
        case .noTokenizer(let directory):
            "\(directory): found neither tokenizer.json nor vocab.json with merges.txt nor tokenizer.model; "
                + "copy the tokenizer files of the checkpoint into this folder"
        case .invalidModel(let file, let offset, let reason):
            "\(file): not a SentencePiece model at byte \(offset): \(reason); fetch the file again"
        case .unreadable(let file, let reason):
            "\(file): cannot be read: \(reason); \(reason.advice ?? "check the file")"
        case .overLimit(let file, let what, let limit, let got):
            "\(file): \(what) may be at most \(limit), got \(got); no published tokenizer needs more, so take "
                + "the file from the original checkpoint"
        case .foreignContent(let file, let what, let advice):
            "\(file): the file is \(what); \(advice)"
        case .brokenLink(let file, let target):
            "\(file): the link leads to \(target), which does not exist; download the checkpoint again, or remove "
                + "the link if the file is not needed"
        case .invalidJSON(let file, let offset, let reason, let advice):
            "\(file): not valid JSON at byte \(offset): \(reason); \(advice)"
        case .wrongValue(let file, let key, let expected, let got):
            "\(file): \(key) must be \(expected), got \(got); correct it or take the file from the original "
                + "checkpoint"
        case .unsupported(let file, let key, let got, let supported):
            "\(file): \(key) is \(got), which fastvlm does not support; it supports \(supported). "
                + "Use a checkpoint with such a tokenizer, or report this one"
        case .conflict(let file, let token, let ids):
            "\(file): token \(token) and ids \(ids) contradict each other, but each token needs one id of its "
                + "own; use files of one and the same tokenizer"
        case .unknownMergePart(let file, let merge, let token):
            "\(file): merge \(merge) needs the token \(token), which the vocabulary lacks; "
                + "use vocabulary and merges of the same tokenizer"
        case .malformedMerge(let file, let merge, let got):
            "\(file): merge \(merge) must be two non-empty tokens, got \(got); "
                + "correct it or take the file from the original checkpoint"
        case .duplicateMerge(let file, let merge, let first, let pair):
            "\(file): merges \(first) and \(merge) both join \(pair), so which of them comes first is not "
                + "clear; remove one of them"
        case .noBytes(let file):
            "\(file): the pre-tokenizer is ByteLevel, but the vocabulary has none of its symbols for bytes; "
                + "use pre-tokenizer and vocabulary of the same tokenizer"
        }
    }
}

/// Bounds on what a tokenizer file may ask for, checked before memory is taken.
enum TokenizerLimits {
    /// Bytes of one file. The largest published tokenizer.json is about 35 MB.
    static let fileBytes = 256 << 20
    /// Highest token id + 1: tables are indexed by id.
    static let ids = 1 << 22
    /// Merge rules; ranks must fit 24 bits beside a position in `BytePairMerger`.
    static let merges = (1 << 24) - 1
    /// UTF-8 bytes of one added token: the text scan may look this far ahead at each position.
    static let addedTokenBytes = 512
    /// How many times longer the normaliser's replacements may make a text; published ones make it three times
    /// as long at most.
    static let normalizerGrowth = 8
    /// UTF-8 bytes that the normaliser may put before a text.
    static let prefixBytes = 64
    /// tokenizer.json and its relatives: merges are elements, tokens are members.
    static let json = JSONLimits(depth: 32, elements: merges, members: ids)
    /// How much of a foreign value an error message repeats.
    static let quotedCharacters = 120
}

/// A foreign string cut to a length fit for an error message.
func quoted(_ text: String) -> String {
    let limit = TokenizerLimits.quotedCharacters
    return text.unicodeScalars.count <= limit
        ? "\"\(text)\""
        : "\"\(String(String.UnicodeScalarView(text.unicodeScalars.prefix(limit))))\"…"
}
