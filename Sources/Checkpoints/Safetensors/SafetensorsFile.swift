internal import CheckpointFiles
internal import StrictJSON
package import Tensors

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// One memory-mapped safetensors file whose header has been checked against every rule of the format.
///
/// The layout is eight bytes of header length (little-endian), the header as JSON, then the data:
/// ```
/// ┌ n: UInt64 ┬ {"name": {"dtype", "shape", "data_offsets": [begin, end]}, …} ┬ data … ┐
/// 0           8                                                           8 + n     end
/// ```
/// Rules, as in the format's own reader: the header is at most 100 MB and begins with `{`; names stand once;
/// shape × width of the type equals the length, in checked arithmetic; the tensors fill the data without gap
/// or overlap up to the last byte of the file; `__metadata__` maps strings to strings.
package struct SafetensorsFile: TensorStore {
    /// The longest header that is read.
    package static let headerLimit = 100_000_000
    /// The highest number of dimensions of a tensor.
    static let rankLimit = 8

    package let name: String
    package let storage: Storage
    /// Where the file is, links followed, and what tells whether it is changed meanwhile.
    private let path: String
    private let stamp: FileStamp?
    /// In the order of their data.
    package let tensors: [StoredTensor]
    package let metadata: [String: String]

    /// Maps a file and checks its header. No tensor data is read.
    /// - Parameters:
    ///   - index: what the tensors carry as their `fileIndex`.
    ///   - name: what it is called in errors; nil for its own name.
    /// - Throws: `CheckpointError` naming the rule that is broken.
    package init(contentsOf url: URL, index: Int = 0, name: String? = nil) throws(CheckpointError) {
        let name = name ?? url.lastPathComponent
        self.name = name
        path = url.resolvingSymlinksInPath().path
        stamp = FileStamp(path: path)
        storage = try FileAccess.map(url, expected: .safetensors)
        let header = try Self.header(of: storage, file: name)
        let dataStart = 8 + header.length
        metadata = try Self.metadata(header.object["__metadata__"], file: name)
        var found: [StoredTensor] = []
        found.reserveCapacity(header.object.members.count)
        for member in header.object.members where member.key != "__metadata__" {
            let entry = try Self.entry(
                member.key, member.value, file: name, fileIndex: index, dataStart: dataStart)
            found.append(entry)
        }
        found.sort { ($0.byteOffset, $0.byteCount, $0.name) < ($1.byteOffset, $1.byteCount, $1.name) }
        try Self.checkCoverage(found, dataStart: dataStart, end: storage.count, file: name)
        tensors = found
    }

    /// A file that was replaced under its name is no matter: the mapping keeps the old one.
    package func checkUnchanged() throws(CheckpointError) {
        if let stamp, stamp.wasRewritten(as: FileStamp(path: path)) { throw .changedFile(path: path) }
    }

    // MARK: Header

    private static func header(
        of storage: Storage, file: String
    ) throws(CheckpointError) -> (object: JSONObject, length: Int) {
        func invalid(_ reason: String) -> CheckpointError {
            .invalidSafetensors(file: file, tensor: "", reason: reason)
        }
        guard storage.count >= 8 else { throw invalid("\(storage.count) bytes are too few for a header") }
        let declared = UInt64(littleEndian: storage.bytes.loadUnaligned(as: UInt64.self))
        guard declared <= UInt64(headerLimit) else {
            throw invalid("a header of \(declared) bytes, at most \(headerLimit) allowed")
        }
        let length = Int(declared)
        guard length <= storage.count - 8 else {
            throw invalid("the header of \(length) bytes does not fit in \(storage.count) bytes: truncated")
        }
        let text = UnsafeRawBufferPointer(rebasing: storage.bytes[8..<8 + length])
        guard text.first == UInt8(ascii: "{") else { throw invalid("the header does not begin with '{'") }
        guard let object = try FileAccess.json(text, file: file, limits: FileAccess.headerLimits).object
        else {
            throw invalid("the header is not an object")
        }
        return (object, length)
    }

    private static func metadata(_ value: JSONValue?, file: String) throws(CheckpointError)
        -> [String: String]
    {
        guard let value else { return [:] }
        var metadata: [String: String] = [:]
        guard let object = value.object else {
            throw .invalidSafetensors(file: file, tensor: "__metadata__", reason: "not an object")
        }
        for member in object.members {
            guard let text = member.value.string else {
                throw .invalidSafetensors(
                    file: file, tensor: "__metadata__",
                    reason: "\"\(member.key)\" is \(member.value.summary), not a string")
            }
            metadata[member.key] = text
        }
        return metadata
    }

    private static func entry(
        _ tensor: String, _ description: JSONValue, file: String, fileIndex: Int, dataStart: Int
    ) throws(CheckpointError) -> StoredTensor {
        func invalid(_ reason: String) -> CheckpointError {
            .invalidSafetensors(file: file, tensor: tensor, reason: reason)
        }
        guard let object = description.object else { throw invalid("its entry is \(description.summary)") }
        for key in object.members.map(\.key) where key != "dtype" && key != "shape" && key != "data_offsets" {
            throw invalid("unknown key \"\(key)\"")
        }
        guard let typeName = object["dtype"]?.string else {
            throw invalid("dtype is missing or not a string")
        }
        guard let dataType = DataType(rawValue: typeName) else {
            let known = DataType.allCases.map(\.rawValue).joined(separator: ", ")
            throw .unexpectedDataType(file: file, tensor: tensor, expected: "one of \(known)", got: typeName)
        }
        guard let extents = object["shape"]?.elements else {
            throw invalid("shape is missing or not a list")
        }
        guard extents.count <= rankLimit else { throw invalid("\(extents.count) dimensions") }
        var shape: [Int] = []
        for extent in extents {
            guard case .integer(let extent) = extent, extent >= 0 else {
                throw invalid("shape holds \(extent.summary), not a whole number")
            }
            shape.append(extent)
        }
        guard let offsets = object["data_offsets"]?.elements, offsets.count == 2,
            case .integer(let begin) = offsets[0], case .integer(let end) = offsets[1]
        else { throw invalid("data_offsets is not two whole numbers") }
        guard begin >= 0, begin <= end, end <= Int.max - dataStart else {
            throw invalid("data_offsets [\(begin), \(end)] are not a range")
        }
        guard let expected = Tensor.checkedByteCount(dataType, shape: shape) else {
            throw invalid("the size of \(typeName) \(shape) overflows")
        }
        guard expected == end - begin else {
            throw invalid("\(typeName) \(shape) takes \(expected) bytes, data_offsets give \(end - begin)")
        }
        return StoredTensor(
            name: tensor, file: file, fileIndex: fileIndex, dataType: dataType, shape: shape,
            byteOffset: dataStart + begin, byteCount: expected)
    }

    /// - Parameter tensors: sorted by offset.
    private static func checkCoverage(
        _ tensors: [StoredTensor], dataStart: Int, end: Int, file: String
    ) throws(CheckpointError) {
        var position = dataStart
        for tensor in tensors {
            guard tensor.byteOffset == position else {
                throw .invalidSafetensors(
                    file: file, tensor: tensor.name,
                    reason: "its data begin at \(tensor.byteOffset - dataStart), expected "
                        + "\(position - dataStart): \(tensor.byteOffset < position ? "overlap" : "gap")")
            }
            position = tensor.byteOffset + tensor.byteCount
        }
        guard position == end else {
            throw .invalidSafetensors(
                file: file, tensor: "",
                reason: "the header describes \(position) bytes, the file has \(end): "
                    + (position > end ? "truncated" : "something follows the data"))
        }
    }
}
