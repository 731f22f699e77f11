#ifdef FVC_HEIF

#include "heif_library.h"

#ifdef __linux__

#include <cstdio>
#include <mutex>

#include <dlfcn.h>

namespace fastvlm {

#define FVC_DEFINE(name) decltype(&::name) name = nullptr;
FVC_HEIF_FUNCTIONS(FVC_DEFINE)
FVC_DE265_FUNCTIONS(FVC_DEFINE)
FVC_DAV1D_FUNCTIONS(FVC_DEFINE)
#undef FVC_DEFINE

namespace {

// A library whose functions are being looked up. It stays in memory: decoders are registered with it.
class Library {
public:
    explicit Library(const char *file) : handle_(dlopen(file, RTLD_NOW | RTLD_LOCAL)) {}

    template <typename Function> void find(Function &function, const char *name)
    {
        void *address = complete() ? dlsym(handle_, name) : nullptr;
        function = reinterpret_cast<Function>(address);
        missing_ = missing_ || address == nullptr;
    }

    bool complete() const { return handle_ != nullptr && !missing_; }

private:
    void *handle_;
    bool missing_ = false;
};

// The names carry the version of the binary interface, which the headers were made for.
#define FVC_TEXT_OF(number) #number
#define FVC_TEXT(number) FVC_TEXT_OF(number)
const char heif_file[] = "libheif.so.1";
const char de265_file[] = "libde265.so.0";
const char dav1d_file[] = "libdav1d.so." FVC_TEXT(DAV1D_API_VERSION_MAJOR);

// Fills the pointers. Otherwise returns the Debian package of the first library that is missing.
const char *fill_pointers()
{
#define FVC_FIND(name) library.find(name, #name);
    {
        Library library(de265_file);
        FVC_DE265_FUNCTIONS(FVC_FIND)
        if (!library.complete()) {
            return "libde265-0";
        }
    }
    {
        Library library(dav1d_file);
        FVC_DAV1D_FUNCTIONS(FVC_FIND)
        if (!library.complete()) {
            return "libdav1d" FVC_TEXT(DAV1D_API_VERSION_MAJOR);
        }
    }
    Library library(heif_file);
    FVC_HEIF_FUNCTIONS(FVC_FIND)
    return library.complete() ? nullptr : "libheif1";
#undef FVC_FIND
}

}  // namespace

bool open_heif_library(char *reason, unsigned long capacity)
{
    static std::mutex mutex;
    static bool filled = false;
    std::lock_guard<std::mutex> lock(mutex);
    const char *missing = filled ? nullptr : fill_pointers();
    filled = missing == nullptr;
    if (!filled) {
        // The package first: the linker's text may be long.
        const char *text = dlerror();
        std::snprintf(reason, capacity, "install the Debian package %s, or convert the image to JPEG or PNG (%s)",
                      missing, text != nullptr ? text : "it cannot be opened");
    }
    return filled;
}

}  // namespace fastvlm

#else

// Elsewhere they are linked.
namespace fastvlm {

#define FVC_DEFINE(name) decltype(&::name) name = &::name;
FVC_HEIF_FUNCTIONS(FVC_DEFINE)
FVC_DE265_FUNCTIONS(FVC_DEFINE)
FVC_DAV1D_FUNCTIONS(FVC_DEFINE)
#undef FVC_DEFINE

bool open_heif_library(char *, unsigned long) { return true; }

}  // namespace fastvlm

#endif
#endif
