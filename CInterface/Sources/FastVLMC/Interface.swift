internal import CFastVLM
internal import FastVLM

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

// The functions of fastvlm.h, which says what they do.

public typealias TextOutput = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>

@_cdecl("fastvlm_abi_version")
public func abiVersion() -> Int32 { FASTVLM_ABI_VERSION }

private let failed = Int32(FASTVLM_FAILED)
private let done = Int32(FASTVLM_OK)
private let version: StaticString = "0.1.0"

@_cdecl("fastvlm_version")
public func libraryVersion() -> UnsafePointer<CChar> {
    UnsafeRawPointer(version.utf8Start).assumingMemoryBound(to: CChar.self)
}

@_cdecl("fastvlm_load")
public func beginLoading(_ options: UnsafePointer<CChar>?, _ length: Int, _ error: TextOutput?) -> Int64 {
    attempt(error, failed: 0) { () throws(Failure) -> Int64 in
        let request = try decoded(LoadRequest.self, options, length, "options")
        do {
            // The first asynchronous step opens files, and without any to open it would end the process.
            try SystemInformation.checkLimits()
        } catch {
            throw Failure(error)
        }
        ModelProcess.claim()
        return handles.add(
            Job.begin { job in
                var options = request.options
                options.progress = { _ = try? job.tell(Event(stage: "load", fraction: $0)) }
                let model = try await VisionLanguageModel(contentsOf: request.source, options: options)
                var loaded = Event("loaded")
                loaded.information = model.information
                try job.tell(loaded)
                return .model(model)
            })
    }
}

@_cdecl("fastvlm_submit")
public func beginRequest(
    _ model: Int64, _ request: UnsafePointer<CChar>?, _ length: Int, _ images: UnsafeRawPointer?,
    _ count: Int,
    _ error: TextOutput?
) -> Int64 {
    attempt(error, failed: 0) { () throws(Failure) -> Int64 in
        let model = try handles.job(model).model()
        let request = try decoded(Request.self, request, length, "request")
        let images = try copied(images, count)
        do {
            return handles.add(Job.begin(try request.work(model, images)))
        } catch {
            throw Failure(error)
        }
    }
}

@_cdecl("fastvlm_next")
public func takeEvent(_ handle: Int64, _ milliseconds: Int32, _ event: TextOutput?, _ error: TextOutput?)
    -> Int32
{
    attempt(error, failed: failed) { () throws(Failure) -> Int32 in
        let job = try handles.job(handle)
        guard let event else { throw .invalidArgument("event is null") }
        switch job.next(milliseconds: milliseconds) {
        case .event(let json):
            guard let text = texts.make(json) else { throw .outOfMemory }
            event.pointee = text
            return Int32(FASTVLM_EVENT)
        case .nothingYet: return done
        case .end: return Int32(FASTVLM_END)
        case .failed(let failure): throw failure
        }
    }
}

@_cdecl("fastvlm_features")
public func showFeatures(
    _ request: Int64, _ which: Int32, _ numbers: UnsafeMutablePointer<UnsafePointer<Float>?>?,
    _ rows: UnsafeMutablePointer<Int>?, _ columns: UnsafeMutablePointer<Int>?, _ error: TextOutput?
) -> Int32 {
    attempt(error, failed: failed) { () throws(Failure) -> Int32 in
        let features = try handles.job(request).features()
        guard let numbers, let rows, let columns else {
            throw .invalidArgument("numbers, rows and columns must not be null")
        }
        let shown: UnsafeBufferPointer<Float>
        switch Int(which) {
        case FASTVLM_FEATURES:
            shown = features.withFeatures { $0 }
            columns.pointee = features.featureChannels
        case FASTVLM_VISUAL_TOKENS:
            shown = features.withProjected { $0 }
            columns.pointee = features.hiddenSize
        default:
            throw .invalidArgument("which must be FASTVLM_FEATURES or FASTVLM_VISUAL_TOKENS, got \(which)")
        }
        rows.pointee = shown.count / max(columns.pointee, 1)
        numbers.pointee = shown.baseAddress
        return done
    }
}

@_cdecl("fastvlm_cancel")
public func cancelWork(_ handle: Int64, _ error: TextOutput?) -> Int32 {
    attempt(error, failed: failed) { () throws(Failure) -> Int32 in
        try handles.job(handle).cancel()
        return done
    }
}

@_cdecl("fastvlm_release")
public func releaseHandle(_ handle: Int64, _ error: TextOutput?) -> Int32 {
    attempt(error, failed: failed) { () throws(Failure) -> Int32 in
        try handles.remove(handle).cancel()
        return done
    }
}

@_cdecl("fastvlm_free")
public func freeText(_ text: UnsafeMutablePointer<CChar>?) {
    // A forked child leaves it: a thread of the parent's may have been about to note another text.
    guard let text, !ModelProcess.isForked else { return }
    texts.release(text)
}

/// Runs the body of a function; an error goes to `*error`.
/// - Parameter failed: what the function returns then
private func attempt<Value>(
    _ error: TextOutput?, failed: Value, _ body: () throws(Failure) -> Value
) -> Value {
    guard !ModelProcess.isForked else {
        let text = UnsafeRawPointer(Failure.forkedJSON.utf8Start).assumingMemoryBound(to: CChar.self)
        error?.pointee = strdup(text)
        return failed
    }
    do {
        return try body()
    } catch let failure {
        if let error { error.pointee = texts.make((try? json(failure)) ?? "{}") }
        return failed
    }
}
