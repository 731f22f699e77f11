internal import CFastVLM
internal import FastVLM
internal import FoundationEssentials

/// Most bytes that a request's JSON may have.
private let mostText = 64 << 20
/// Most images of a request.
private let mostImages = 4096
/// Most bytes of an image, before the model's own limits are asked.
private let mostImageBytes = 1 << 32

/// A text that a caller gives, as a value read from JSON.
/// - Throws: `Failure` for a null pointer, an absurd length, what is no JSON in UTF-8, and unknown keys.
func decoded<Value: Decodable>(
    _ type: Value.Type, _ text: UnsafePointer<CChar>?, _ length: Int, _ name: String
) throws(Failure) -> Value {
    guard let text else { throw .invalidArgument("\(name) is null") }
    guard (0...mostText).contains(length) else {
        throw .invalidArgument("\(name) has \(UInt(bitPattern: length)) bytes, at most \(mostText) are read")
    }
    let data = Data(bytes: text, count: length)
    do {
        return try JSONDecoder().decode(type, from: data)
    } catch let error as DecodingError {
        if case .dataCorrupted(let context) = error, context.codingPath.isEmpty, isJSON(data) {
            throw .invalidArgument(
                "\(name): a number is out of range, a fraction stands where a whole number belongs, or a text has half "
                    + "of a surrogate pair")
        }
        throw Failure(error).prefixed(name)
    } catch {
        throw Failure(error).prefixed(name)
    }
}

/// Whether JSON is well formed: the decoder says that it is not also where a value does not fit its type.
private func isJSON(_ data: Data) -> Bool {
    struct Anything: Decodable { init(from decoder: any Decoder) {} }
    return (try? JSONDecoder().decode(Anything.self, from: data)) != nil
}

/// Copies of the images that a caller gives.
/// - Throws: `Failure` for null pointers and sizes that do not fit their bytes.
func copied(_ images: UnsafeRawPointer?, _ count: Int) throws(Failure) -> [ImageSource] {
    guard count != 0 else { return [] }
    guard let images else { throw .invalidArgument("images is null") }
    guard (1...mostImages).contains(count) else {
        throw .invalidArgument("there are \(UInt(bitPattern: count)) images, at most \(mostImages) are taken")
    }
    var sources: [ImageSource] = []
    for index in 0..<count {
        let image = images.loadUnaligned(
            fromByteOffset: index * MemoryLayout<fastvlm_image>.stride, as: fastvlm_image.self)
        sources.append(try copied(image, "image \(index)"))
    }
    return sources
}

private func copied(_ image: fastvlm_image, _ name: String) throws(Failure) -> ImageSource {
    guard let bytes = image.bytes else { throw .invalidArgument("\(name): bytes is null") }
    guard (0...mostImageBytes).contains(image.length) else {
        throw .invalidArgument(
            "\(name) has \(UInt(bitPattern: image.length)) bytes, at most \(mostImageBytes) are taken")
    }
    let (width, height) = (Int(image.width), Int(image.height))
    if width == 0, height == 0 {
        guard image.stride == 0 else { throw .invalidArgument("\(name): a file has no stride") }
        return .data(Data(bytes: bytes, count: image.length))
    }
    let row = 3 * width
    let stride = image.stride == 0 ? row : image.stride
    let (before, overflow) = stride.multipliedReportingOverflow(by: height - 1)
    guard width > 0, height > 0, stride >= row, !overflow, before <= image.length,
        row <= image.length - before
    else {
        throw .invalidArgument(
            "\(name): \(width) × \(height) pixels of 3 bytes in rows of \(UInt(bitPattern: stride)) bytes do not fit "
                + "into \(image.length) bytes")
    }
    guard stride != row else {
        return .pixels(width: width, height: height, rgb: Data(bytes: bytes, count: row * height))
    }
    var pixels = Data(capacity: row * height)
    for index in 0..<height {
        pixels.append(
            bytes.advanced(by: index * stride).assumingMemoryBound(to: UInt8.self), count: row)
    }
    return .pixels(width: width, height: height, rgb: pixels)
}
