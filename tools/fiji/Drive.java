// Does in ImageJ what a user does, and prints as JSON what he sees then: java -cp ij.jar Drive.java MACRO ARGUMENT PREPARATION [PICTURE]
//
// PREPARATION is what happens to the picture before the macro runs: "saved" (nothing), "changed" (inverted, not saved), "selected" (the
// same, and a part of it selected), "unsaved" (its pixels in a window without a file), "crowded" (an outline is in the ROI Manager
// already), "asked" (it gets no argument; its dialog is answered with the lines of ARGUMENT), "none" (no picture is open). The ROI Manager is a window: without a display, use xvfb-run.
import ij.*;
import ij.gui.*;
import ij.plugin.frame.RoiManager;
import java.awt.*;
import java.io.*;
import java.nio.file.*;
import java.util.StringJoiner;

public class Drive {
    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, "UTF-8");
        new ImageJ(ImageJ.NO_SHOW);
        String macro = args[0], argument = args[1], preparation = args[2];
        watch(out, preparation.equals("asked") ? argument.split("\n") : null);
        if (preparation.equals("asked"))
            argument = "";
        ImagePlus picture = preparation.equals("none") ? null : prepare(IJ.openImage(args[3]), preparation);
        String before = picture == null ? null : describe(picture);
        String returned = IJ.runMacroFile(macro, argument);
        String after = picture == null ? null : describe(picture);
        out.println("{\"returned\":" + quote(returned) + ",\"before\":" + before + ",\"after\":" + after
            + ",\"windows\":" + WindowManager.getImageCount() + ",\"log\":" + quote(IJ.getLog()) + ",\"shown\":" + shown(picture)
            + ",\"remembered\":" + quote(Prefs.get("unet_engine.model", null))
            + ",\"rois\":" + rois() + "}");
        System.exit(0);
    }

    /** Answers the macro's dialog once. Any other waits for a user whom nobody has: its text is printed, and all ends. */
    static void watch(PrintStream out, String[] answers) {
        Thread watcher = new Thread(() -> {
            boolean mayAnswer = answers != null;
            while (true) {
                for (Window window : Window.getWindows())
                    if (mayAnswer && window instanceof GenericDialog && window.isShowing()) {
                        mayAnswer = false;
                        answer((GenericDialog) window, answers);
                    } else if (window instanceof Dialog && window.isShowing()) {
                        out.println("{\"dialog\":" + quote(((Dialog) window).getTitle() + "\n" + text(window)) + "}");
                        System.exit(1);
                    }
                IJ.wait(200);
            }
        });
        watcher.setDaemon(true);
        watcher.start();
    }

    static void answer(GenericDialog dialog, String[] answers) {
        for (int i = 0; i < answers.length; i++)
            ((TextField) dialog.getStringFields().get(i)).setText(answers[i]);
        Button ok = dialog.getButtons()[0];
        dialog.actionPerformed(new java.awt.event.ActionEvent(ok, java.awt.event.ActionEvent.ACTION_PERFORMED, ok.getLabel()));
    }

    static String text(Container container) {
        StringBuilder text = new StringBuilder();
        for (Component part : container.getComponents()) {
            if (part instanceof Label) text.append(((Label) part).getText()).append('\n');
            if (part instanceof TextComponent) text.append(((TextComponent) part).getText()).append('\n');
            if (part instanceof MultiLineLabel) text.append(lines(part)).append('\n');
            if (part instanceof Container) text.append(text((Container) part));
        }
        return text.toString();
    }

    /** ImageJ's label does not give its text away. */
    static String lines(Component label) {
        try {
            java.lang.reflect.Field lines = MultiLineLabel.class.getDeclaredField("lines");
            lines.setAccessible(true);
            return String.join("\n", (String[]) lines.get(label));
        } catch (ReflectiveOperationException e) {
            return e.toString();
        }
    }

    static ImagePlus prepare(ImagePlus picture, String preparation) {
        switch (preparation) {
            case "unsaved":
                picture = new ImagePlus("never saved", picture.getStack());
                break;
            case "changed": case "selected":
                for (int slice = 1; slice <= picture.getStackSize(); slice++)
                    picture.getStack().getProcessor(slice).invert();
                picture.changes = true;
                if (preparation.equals("selected"))
                    picture.setRoi(3, 4, 5, 6);
                break;
            case "crowded":
                Roi mine = new Roi(1, 2, 3, 4);
                mine.setName("mine");
                RoiManager.getRoiManager().addRoi(mine);
        }
        picture.show();
        return picture;
    }

    /** What the macro must leave as it was. */
    static String describe(ImagePlus picture) {
        ij.io.FileInfo file = picture.getOriginalFileInfo();
        Roi selection = picture.getRoi();
        return "{\"title\":" + quote(picture.getTitle()) + ",\"changes\":" + picture.changes
            + ",\"file\":" + (file == null ? "null" : quote(file.getFilePath()))
            + ",\"selection\":" + (selection == null ? "null" : quote(selection.getBounds().toString()))
            + ",\"slice\":" + picture.getCurrentSlice() + ",\"active\":" + (IJ.getImage() == picture) + "}";
    }

    /** How many outlines the manager draws over the slice that is seen. */
    static int shown(ImagePlus picture) {
        Overlay all = picture == null || picture.getCanvas() == null ? null : picture.getCanvas().getShowAllList();
        if (all == null)
            return 0;
        int n = 0;
        for (Roi roi : all.toArray())
            if (picture.getStackSize() == 1 || !Prefs.showAllSliceOnly || roi.getPosition() == 0
                || roi.getPosition() == picture.getCurrentSlice())
                n++;
        return n;
    }

    static String rois() {
        RoiManager manager = RoiManager.getInstance();
        StringJoiner lines = new StringJoiner(",", "[", "]");
        for (int i = 0; manager != null && i < manager.getCount(); i++) {
            Roi roi = manager.getRoi(i);
            Rectangle b = roi.getBounds();
            lines.add("{\"name\":" + quote(manager.getName(i)) + ",\"bounds\":[" + b.x + "," + b.y + "," + b.width + "," + b.height + "]"
                + ",\"position\":" + roi.getPosition() + ",\"group\":" + roi.getGroup()
                + ",\"pixels\":" + roi.getContainedPoints().length + "}");
        }
        return lines.toString();
    }

    static String quote(String s) {
        if (s == null)
            return "null";
        StringBuilder text = new StringBuilder("\"");
        for (char c : s.toCharArray())
            if (c == '"' || c == '\\') text.append('\\').append(c);
            else if (c < 32) text.append(String.format("\\u%04x", (int) c));
            else text.append(c);
        return text.append('"').toString();
    }
}
