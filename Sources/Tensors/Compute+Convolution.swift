internal import CKernels

/// Convolutions and what works on whole feature maps.
extension Compute {
    /// Depthwise convolution with padding k/2.
    /// - Parameters:
    ///   - x: [H, W, C]
    ///   - y: [⌈H/stride⌉, ⌈W/stride⌉, C · multiplier]; must not overlap x.
    package func depthwise(
        _ x: FeatureMap, _ w: DepthwiseWeights, activation: Activation = .none, into y: FeatureMap
    ) {
        precondition(x.channels == w.inputChannels && y.channels == w.outputChannels, "channels do not agree")
        precondition(
            y.height == (x.height + w.stride - 1) / w.stride
                && y.width == (x.width + w.stride - 1) / w.stride,
            "extents do not agree")
        let call = fv_depthwise(
            x: x.pointer, height: x.height, width: x.width, channels: x.channels, y: y.pointer,
            out_height: y.height, out_width: y.width, weights: w.weights, bias: w.bias, plane: w.plane,
            kernel: w.kernel, stride: w.stride, multiplier: w.multiplier, activation: activation.code,
            first_row: 0, row_count: 0, first_channel: 0, channel_count: 0, scratch: nil)
        let kernel = kernels.pointee.depthwise
        let bytes = kernels.pointee.depthwise_scratch(w.kernel, w.stride)
        let grid = Grid(depthwise: y.height, channels: x.channels, threads: threads)
        measured(
            .depthwise,
            "\(w.kernel)×\(w.kernel)/\(w.stride), \(x.height)×\(x.width)×\(x.channels) → \(y.channels)",
            operations: 2 * w.kernel * w.kernel * y.height * y.width * y.channels,
            bytes: 4 * (x.height * x.width * x.channels + y.height * y.width * y.channels)
        ) {
            run(grid.tasks, scratchBytes: bytes, with: (call, kernel, grid)) { job, task, scratch in
                var (part, kernel, grid) = job
                let (rows, channels) = grid[task]
                part.first_row = rows.lowerBound
                part.row_count = rows.count
                part.first_channel = channels.lowerBound
                part.channel_count = channels.count
                part.scratch = scratch
                kernel(&part)
            }
        }
        withExtendedLifetime(w) {}
    }

    /// Dense convolution on few channels with padding k/2.
    /// - Parameters:
    ///   - x: [H, W, C]
    ///   - y: [⌈H/stride⌉, ⌈W/stride⌉, outputs]; must not overlap x.
    package func stem(_ x: FeatureMap, _ w: StemWeights, activation: Activation, into y: FeatureMap) {
        precondition(x.channels == w.inputChannels && y.channels == w.outputChannels, "channels do not agree")
        precondition(
            y.height == (x.height + w.stride - 1) / w.stride
                && y.width == (x.width + w.stride - 1) / w.stride,
            "extents do not agree")
        let panels = w.matrix.panels
        precondition(panels.layout.fits(self), "weights packed for another instruction set")
        let call = fv_stem(
            x: x.pointer, height: x.height, width: x.width, channels: x.channels, y: y.pointer,
            out_width: y.width, outputs: y.channels, panels: panels.base, bias: w.bias?.pointer,
            kernel: w.kernel, stride: w.stride, activation: activation.code, first_row: 0, row_count: 0,
            scratch: nil)
        let kernel = panels.format == .float32 ? kernels.pointee.stem_f32 : kernels.pointee.stem_bf16
        let bytes = kernels.pointee.stem_scratch(w.matrix.inputs, y.width)
        measured(
            .stem,
            "\(w.kernel)×\(w.kernel)/\(w.stride), \(x.height)×\(x.width)×\(x.channels) → \(y.channels)",
            operations: 2 * w.matrix.inputs * y.height * y.width * y.channels,
            bytes: 4 * (x.height * x.width * x.channels + y.height * y.width * y.channels)
        ) {
            run(ranges: y.height, step: 2, scratchBytes: bytes, with: (call, kernel)) { job, rows, scratch in
                var (part, kernel) = job
                part.first_row = rows.lowerBound
                part.row_count = rows.count
                part.scratch = scratch
                kernel(&part)
            }
        }
        withExtendedLifetime(w) {}
    }

    /// mean[c] = mean of channel c over all positions.
    /// - Parameters:
    ///   - x: [H, W, C]
    ///   - mean: [1, C]
    package func channelMeans(_ x: FeatureMap, into mean: Matrix) {
        precondition(mean.rows == 1 && mean.columns == x.channels, "shapes do not agree")
        let kernel = kernels.pointee.column_means
        // By columns, so that each sum runs over the positions in order.
        let call = fv_rows(
            x: x.pointer, x_stride: x.channels, y: mean.pointer, y_stride: 0, rows: x.height * x.width,
            columns: x.channels)
        run(ranges: x.channels, step: 256, with: (call, kernel)) { job, columns, _ in
            var (part, kernel) = job
            part.x += columns.lowerBound
            part.y += columns.lowerBound
            part.columns = columns.count
            kernel(&part)
        }
    }

    /// x = activation(x · gate), in place.
    /// - Parameters:
    ///   - x: [H, W, C]
    ///   - gate: [1, C]
    package func multiplyChannels(_ x: FeatureMap, by gate: Matrix, activation: Activation = .none) {
        precondition(gate.rows == 1 && gate.columns == x.channels, "shapes do not agree")
        let kernel = kernels.pointee.multiply_columns
        elementwise(x.matrix, x.matrix, with: (kernel, gate.pointer, activation.code)) { job, part in
            job.0(&part, job.1, job.2)
        }
    }
}

extension Grid {
    /// How a depthwise convolution is cut into tasks: by channels, which share nothing, and only where these are few also
    /// by output rows, whose neighbours read the same input rows. The cut changes no sum.
    fileprivate init(depthwise rows: Int, channels: Int, threads: Int) {
        // About eight tasks per thread, so that threads end together; a cache line of channels is the least.
        let wanted = 8 * threads
        let lines = (channels + 15) / 16
        let linesPerTask = max(1, lines / wanted)
        let bands = max(1, min(wanted * linesPerTask / lines, rows / 16))
        self.init(
            rows: rows, rowsPerTask: max(1, (rows + bands - 1) / bands), columns: channels,
            columnsPerTask: 16 * linesPerTask)
    }
}
