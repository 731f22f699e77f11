internal import Checkpoints
internal import Generation
internal import ImageInput
internal import Synchronization
internal import Tensors

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// Images of a turn: found among those that are known, read, decoded.
extension TurnPreparation {
    /// An image of a turn, before its pixels.
    private struct Given {
        let name: ImageName
        /// nil where the image is known by its key.
        let bytes: ImageBytes?
        var known: ImageMemory.Known?
    }

    /// Reads, recognises and decodes the images of a turn, each that occurs several times once.
    func addImages(
        _ sources: [ImageSource], to prepared: inout PreparedTurn,
        _ queued: @escaping @Sendable (Int) -> Void
    ) async throws {
        let (given, places) = try await find(sources, for: &prepared)
        prepared.prompt = prepared.prompt.replacingImages { places.indices.contains($0) ? places[$0] : $0 }
        prepared.places = places
        try await awaitTurn(&prepared, queued)
        let images = given.map { image in
            var image = image
            image.known = image.known ?? memory.find(image.name)
            return image
        }
        let pixels = try await decode(
            images.compactMap { $0.known == nil ? $0.bytes : nil }, for: &prepared)
        var decoded = pixels.makeIterator()
        for (place, image) in images.enumerated() {
            let number = 1 + (places.firstIndex(of: place) ?? place)
            let pixels = image.known == nil ? decoded.next() : nil
            let identity = pixels.map { _ in memory.claimIdentity(of: image.name) }
            if let identity { prepared.identities.append(identity) }
            // Once more: it may have been encoded for another request meanwhile, whose identity is given up by now.
            if let known = image.known ?? memory.find(image.name) {
                prepared.images.append(
                    TurnImage(
                        name: image.name, number: number,
                        content: .init(.encoded(known.tokens), identity: known.identity),
                        remarks: known.remarks, multiImagePixels: known.multiImagePixels))
            } else if let pixels, let identity {
                prepared.images.append(
                    TurnImage(
                        name: image.name, number: number,
                        content: .init(.pixels(pixels.pixels), identity: identity),
                        remarks: pixels.remarks, multiImagePixels: pixels.multiImagePixels))
            }
        }
    }

    /// The different images among sources, and the place of each source among them. Reads what has to be read: two files
    /// may hold the same bytes, and one that is known by its key is not opened.
    private func find(
        _ sources: [ImageSource], for prepared: inout PreparedTurn
    ) async throws -> (images: [Given], places: [Int]) {
        var known: [String: ImageMemory.Known] = [:]
        var unread: [ImageSource] = []
        var placeOfUnread: [ImageSource: Int] = [:]
        for source in sources {
            if let key = source.key {
                if known[key] == nil { known[key] = memory.find(form(.key(key), in: prepared)) }
                if known[key] != nil { continue }
            }
            if placeOfUnread[source] == nil {
                placeOfUnread[source] = unread.count
                unread.append(source)
            }
        }
        let read = unread.isEmpty ? [] : try await read(unread, for: &prepared)
        var images: [Given] = []
        var placeOfName: [ImageName: Int] = [:]
        let places = sources.map { [prepared] source in
            let bytes = placeOfUnread[source].map { read[$0] }
            // Whatever has no key was read.
            let name = form(
                source.key.map(ImageName.key) ?? .bytes(bytes ?? ImageBytes(data: Data())), in: prepared)
            if let place = placeOfName[name] { return place }
            placeOfName[name] = images.count
            images.append(Given(name: name, bytes: bytes, known: source.key.flatMap { known[$0] }))
            return images.count - 1
        }
        return (images, places)
    }

    /// The name of what an image is encoded to.
    private func form(_ name: ImageName, in turn: PreparedTurn) -> ImageName {
        if let side = turn.options.imageSize, side != images.preprocessor.size {
            return .resized(name, side: side)
        }
        return images.preprocessor.variesWithImageCount && !turn.isSingleImage ? .multiImage(name) : name
    }

    /// The bytes of images, in order: files and pipes are read, and counted among what requests bring.
    func read(
        _ sources: [ImageSource], for prepared: inout PreparedTurn
    ) async throws -> [ImageBytes] {
        let images = images
        guard sources.contains(where: \.isFile) else {
            return try sources.map {
                try images.read($0, durations: &prepared.durations, cancellation: Cancellation())
            }
        }
        let admission = prepared.admission
        // A file server may be slow to answer even this.
        let most = images.limits.fileBytes
        let size = try await onOwnThread { _ in
            // What is larger than the limit is refused by reading, and its size may be anything.
            sources.reduce(0) {
                $0 + ($1.fileBytes.map { min(max($0, PreparationLimits.leastFile), most) } ?? 0)
            }
        }
        if size > 0 {
            let claim = limits.bytes.join(size, priority: prepared.options.priority)
            prepared.claims.append(claim)
            try await claim.granted()
        }
        let (files, durations) = try await onOwnThread { cancellation in
            var durations = ImagePreparation.Durations()
            let files = try sources.map {
                try images.read($0, durations: &durations, cancellation: cancellation) { count in
                    try admission.bring(count)
                }
            }
            return (files, durations)
        }
        prepared.durations.decode += durations.decode
        return files
    }

    /// The pixels of files, in order.
    func decode(
        _ files: [ImageBytes], for prepared: inout PreparedTurn
    ) async throws -> [PreparedPixels] {
        guard !files.isEmpty else { return [] }
        let isSingleImage = prepared.isSingleImage
        let images = try self.images(prepared.options)
        // Those that were expected are of the model's own size.
        let ready = files.map { file in
            images.preprocessor == self.images.preprocessor
                ? takeExpected(file, isSingleImage: isSingleImage) : nil
        }
        let missing = zip(files, ready).filter { $0.1 == nil }.map(\.0)
        var decoded: [PreparedPixels] = []
        if !missing.isEmpty {
            let needed = try missing.map { try images.memory($0, isSingleImage: isSingleImage) }
            let pixelBytes = needed.reduce(0) { $0 + $1.pixels }
            let largest = needed.map(\.decoding).max() ?? 0
            let memory = limits.pixels.join(
                pixelBytes + largest, priority: prepared.options.priority)
            prepared.claims.append(memory)
            try await memory.granted()
            let turn = limits.decodings.join(priority: prepared.options.priority)
            defer { turn.release() }
            try await turn.granted()
            let durations: ImagePreparation.Durations
            (decoded, durations) = try await offTaskThreads { cancellation in
                var durations = ImagePreparation.Durations()
                let pixels = try missing.map {
                    try images.prepare(
                        $0, isSingleImage: isSingleImage, durations: &durations, cancellation: cancellation)
                }
                return (pixels, durations)
            }
            memory.reduce(to: pixelBytes)
            prepared.durations.decode += durations.decode
            prepared.durations.preprocess += durations.preprocess
        }
        var others = decoded.makeIterator()
        return ready.compactMap { $0 ?? others.next() }
    }

    private func takeExpected(_ bytes: ImageBytes, isSingleImage: Bool) -> PreparedPixels? {
        expected.withLock { expected in
            guard let place = expected.firstIndex(where: { $0.bytes == bytes }) else { return nil }
            let prepared = expected.remove(at: place).prepared
            guard !isSingleImage, let pixels = prepared.multiImagePixels else { return prepared }
            return PreparedPixels(pixels: pixels, remarks: prepared.remarks)
        }
    }
}

extension ImageSource {
    fileprivate var isFile: Bool {
        if case .file = content { true } else { false }
    }

    /// Of a regular file.
    fileprivate var fileBytes: Int? {
        if case .file(let url) = content { ImageFile(path: url.path).size } else { nil }
    }
}
